use super::*;

#[test]
fn durations_have_units() {
    assert_eq!(duration("250ms").unwrap(), Duration::from_millis(250));
    assert_eq!(duration("2 h").unwrap(), Duration::from_secs(7200));
    assert_eq!(duration("7d").unwrap(), Duration::from_hours(7 * 24));
    assert_eq!(duration("1h 30m").unwrap(), Duration::from_mins(90));
    for bad in ["", "5", "s", "-1s", "1x", "18446744073709551615d"] {
        assert!(duration(bad).is_err(), "{bad}");
    }
}

#[test]
fn what_would_serve_no_request_or_overflow_is_refused() {
    assert!(duration("36500d").is_ok() && duration("36501d").is_err());
    assert!(duration("0s").is_ok() && patience("0s").is_err());
    assert!(client_patience("99ms").is_err() && client_patience("100ms").is_ok());
    assert_eq!(count("1000000"), Ok(1_000_000));
    let huge = "18446744073709551615";
    for bad in ["0", "1000001", "2305843009213693952", huge, "1KiB", ""] {
        assert!(count(bad).is_err(), "{bad}");
    }
    assert!(header_size("8191").is_err() && header_size("17MiB").is_err());
}

#[test]
fn sizes_may_have_units() {
    assert_eq!(bytes("17").unwrap(), 17);
    assert_eq!(bytes("2MiB").unwrap(), 2 << 20);
    assert_eq!(bytes("0").unwrap(), 0);
    assert!(size_from(1)("0").is_err());
    assert!(bytes("1025GiB").is_err());
    for bad in ["", "-1", "1MB", "1.5GiB", "99999999999GiB"] {
        assert!(bytes(bad).is_err(), "{bad}");
    }
}

#[test]
fn spellings_of_one_upstream_are_one() {
    let expected = base_url("https://api.openai.com/v1").unwrap();
    for spelling in [
        "https://API.openai.com/v1/",
        "HTTPS://api.openai.com:443/v1",
        "https://api.openai.com/x/../v1//",
    ] {
        assert_eq!(base_url(spelling).unwrap(), expected, "{spelling}");
    }
    assert_eq!(
        base_url("http://127.0.0.1:9").unwrap().as_str(),
        "http://127.0.0.1:9/"
    );
}

#[test]
fn doubtful_upstreams_are_refused() {
    for bad in [
        "",
        "api.openai.com",
        "ftp://x/",
        "https://u:p@x/",
        "https://x/#a",
        "https://x/v1/embeddings",
        "https://x/v1/embeddings/?api-version=1",
    ] {
        assert!(base_url(bad).is_err(), "{bad}");
    }
}
