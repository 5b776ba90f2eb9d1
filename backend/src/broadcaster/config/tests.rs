use super::*;

#[test]
fn a_service_has_a_name_and_a_port() {
    for good in [
        "varnish-headless:6081",
        "varnish.ns.svc.cluster.local.:6081",
        "127.0.0.1:6081",
        "[::1]:6081",
    ] {
        assert_eq!(authority(good).unwrap().as_str(), good);
    }
    for bad in [
        "",
        "varnish",
        "varnish:",
        "varnish:0",
        "varnish:65536",
        ":6081",
        "http://varnish:6081",
        "user@varnish:6081",
        "varnish:6081/path",
        "::1:6081",
        "a..b:6081",
    ] {
        assert!(authority(bad).is_err(), "{bad}");
    }
}

#[test]
fn the_backend_and_varnish_are_two() {
    let read = |varnish: &str| {
        let variables = [
            ("VARNISH_SERVICE", varnish),
            ("BACKEND_SERVICE", "backend:8080"),
            ("ALLOW_ANONYMOUS_PURGE", "true"),
        ];
        BroadcasterConfig::from_variables(
            variables.map(|(name, value)| (name.into(), value.into())),
        )
    };
    assert!(read("varnish:8080").is_ok());
    let problems = read("Backend:8080").unwrap_err();
    let named: Vec<_> = problems.iter().map(|problem| problem.variable).collect();
    assert_eq!(named, ["VARNISH_SERVICE"]);
}

#[test]
fn name_servers_are_addresses() {
    let expected = [
        "127.0.0.1:53".parse().unwrap(),
        "[::1]:5353".parse().unwrap(),
    ];
    assert_eq!(addresses("127.0.0.1:53, [::1]:5353").unwrap(), expected);
    for bad in ["127.0.0.1", "dns:53", ","] {
        assert!(addresses(bad).is_err(), "{bad}");
    }
}
