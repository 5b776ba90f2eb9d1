use std::collections::HashMap;
use std::path::PathBuf;

use super::*;
use crate::config::{Config, UpstreamsConfig};

/// What the variables make of a file of upstreams.
fn file(variables: &[(&str, &str)]) -> UpstreamsFile {
    let own = [
        ("UPSTREAMS_FILE", "upstreams.toml"),
        ("KEY", "sk-of-the-file"),
    ];
    let all = own.iter().chain(variables);
    let all = all.map(|&(name, value)| (name.to_owned(), value.to_owned()));
    match Config::from_variables(all).unwrap().upstreams {
        UpstreamsConfig::File(file) => *file,
        UpstreamsConfig::One(one) => panic!("{one:?}"),
    }
}

fn parse(text: &str) -> Result<UpstreamSet, FileProblem> {
    let files: HashMap<PathBuf, &str> = [
        ("/run/secrets/azure".into(), "azure-key\n"),
        ("/empty".into(), " \n"),
    ]
    .into();
    let read = |path: &Path| match files.get(path) {
        Some(text) => Ok(text.as_bytes().to_vec()),
        None => Err(std::io::ErrorKind::NotFound.into()),
    };
    let variables = [("ALLOW_ANONYMOUS", "true"), ("OPENAI_API_KEY", "sk-openai")];
    file(&variables).parse(text, &read)
}

fn refused(text: &str) -> String {
    parse(text).unwrap_err().to_string()
}

#[test]
fn the_example_holds_what_it_says() {
    let set = parse(EXAMPLE).unwrap();
    let names: Vec<_> = set.upstreams.iter().map(|one| &*one.name).collect();
    assert_eq!(names, ["openai", "local", "azure"]);
    let [openai, local, azure] = &set.upstreams[..] else {
        panic!("{set:?}")
    };
    assert_eq!(openai.headers["authorization"], "Bearer sk-openai");
    assert_eq!(azure.headers["api-key"], "azure-key");
    assert_eq!(azure.headers["x-team"], "search");
    assert!(local.headers.is_empty() && local.serves_all && !azure.serves_all);
    assert_eq!(azure.limits.inputs, 2048);
    assert_eq!(azure.rate.requests, Some(3000));
    assert!(azure.proxy.is_some() && openai.proxy.is_none());
    let models: Vec<_> = set
        .models
        .iter()
        .map(|one| (&*one.name, &one.upstreams[..]))
        .collect();
    assert_eq!(
        models,
        [
            ("BAAI/bge-m3", &[1][..]),
            ("text-embedding-3-small", &[0, 2][..])
        ]
    );
    // Neither a credential nor a header's value is part of what a log may show.
    let shown = format!("{set:?}");
    assert!(
        !["sk-openai", "azure-key", "search"]
            .iter()
            .any(|word| shown.contains(word))
    );
}

#[test]
fn keys_are_those_of_one_upstream_unless_a_name_is_another() {
    let identity = |text: &str| {
        let set = parse(text).unwrap();
        set.models
            .iter()
            .map(|model| set.identity(model).unwrap())
            .collect::<Vec<_>>()
    };
    let upstreams = "[upstreams.a]\nbase_url = 'HTTP://A:80/v1/'\ncredential = 'none'\n\
                     [upstreams.b]\nbase_url = 'http://b/v1'\ncredential = 'none'\nmodels = { m = 'd' }\n";
    for (models, expected) in [
        ("[models.m]\nupstreams = ['a']", "http://a/v1"),
        ("[models.m]\nupstreams = ['a', 'b']", "http://a/v1"),
        ("[models.m]\nupstreams = ['b', 'a']", "http://b/v1\0\0d"),
        ("[models.m]\nupstreams = ['b']\nid = 'mine'", "mine"),
        // Only an upstream's own name tells of it.
        ("", "http://b/v1\0\0d"),
    ] {
        assert_eq!(
            identity(&format!("{upstreams}{models}")),
            [expected],
            "{models}"
        );
    }
    let set = parse(upstreams).unwrap();
    assert_eq!(set.upstreams[0].id, "http://a/v1");
}

#[test]
fn what_cannot_be_is_refused_with_line_and_field() {
    let one = "[upstreams.a]\nbase_url = 'http://a/v1'\ncredential = 'none'\n";
    for (rest, expected) in [
        ("color = 'red'", "line 4: unknown field `color`"),
        ("base_url = 'http://b'", "line 4: duplicate key"),
        ("[upstreams.a]", "line 4: duplicate key"),
        (
            "priority = 0",
            "line 4: upstreams.a.priority: must be a number",
        ),
        (
            "weight = 'much'",
            "line 4: upstreams.a.weight: must be a number",
        ),
        (
            "encoding = 'hex'",
            "line 4: upstreams.a.encoding: must be base64",
        ),
        ("serves = 'chat'", "line 4: upstreams.a.serves: must be"),
        ("proxy = 'ftp://p'", "line 4: upstreams.a.proxy: must be"),
        ("id = ''", "line 4: upstreams.a.id: must not be empty"),
        (
            "limits = { inputs = 0 }",
            "line 4: upstreams.a.limits.inputs: must be",
        ),
        ("limits = { color = 0 }", "line 4: unknown field `color`"),
        (
            "headers = { host = 'h' }",
            "line 4: upstreams.a.headers.host: host is the call's own",
        ),
        (
            "[models.m]\nupstreams = ['b']",
            "line 5: models.m.upstreams: \"b\" is no upstream",
        ),
        (
            "[models.m]\nupstreams = ['a', 'a']",
            "line 5: models.m.upstreams: \"a\" stands there",
        ),
        (
            "[models.m]\nupstreams = []",
            "line 4: models.m.upstreams: names none",
        ),
        ("[models.m]\ncolor = 1", "line 5: unknown field `color`"),
    ] {
        let said = refused(&format!("{one}{rest}\n"));
        assert!(said.starts_with(expected), "{rest}: {said}");
    }
    let with = |credential: &str| {
        refused(&format!(
            "[upstreams.a]\nbase_url = 'http://a/v1'\ncredential = '{credential}'"
        ))
    };
    for (credential, expected) in [
        ("sk-in-plain", "must be env:VARIABLE"),
        ("env:ABSENT", "the variable ABSENT is not set"),
        ("file:/absent", "/absent cannot be read"),
        ("file:/empty", "/empty is empty"),
        ("caller", "contradicts CLIENT_KEYS_FILE"),
    ] {
        let said = with(credential);
        let expected = format!("line 3: upstreams.a.credential: {expected}");
        assert!(said.starts_with(&expected), "{credential}: {said}");
        assert!(!said.contains("sk-in-plain"));
    }
    let said = refused("[upstreams.a]\nbase_url = 'http://a/v1'");
    assert!(
        said.starts_with("line 2: upstreams.a.credential: must be env:"),
        "{said}"
    );
    let said = refused("[upstreams.a]\ncredential = 'none'");
    assert!(
        said.starts_with("line 1: missing field `base_url`"),
        "{said}"
    );
    assert_eq!(refused("[upstreams]"), "line 1: upstreams: there is none");
}

#[test]
fn a_callers_credential_is_for_one_provider() {
    let parse = |text: &str| file(&[]).parse(text, &|_| Ok(Vec::new()));
    let upstream = |name: &str, credential: &str| {
        format!("[upstreams.{name}]\nbase_url = 'http://{name}/v1'\ncredential = '{credential}'\n")
    };
    assert!(parse(&upstream("a", "caller")).is_ok());
    for second in ["caller", "none", "env:KEY"] {
        let text = upstream("a", "caller") + &upstream("b", second);
        assert!(parse(&text).is_err(), "{second}");
    }
    let said = parse(&upstream("a", "env:KEY")).unwrap_err().to_string();
    assert!(said.contains("also set CLIENT_KEYS_FILE"), "{said}");
}

#[test]
fn variables_of_one_upstream_contradict_a_file() {
    for name in [
        "OPENAI_BASE_URL",
        "UPSTREAM_ID",
        "UPSTREAM_MAX_TOKENS",
        "UPSTREAM_ENCODING",
    ] {
        let value = match name {
            "OPENAI_BASE_URL" => "http://a/v1",
            "UPSTREAM_ENCODING" => "float",
            _ => "7",
        };
        let variables = [("UPSTREAMS_FILE", "f"), (name, value)];
        let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let problems = Config::from_variables(variables).unwrap_err();
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert_eq!(
            problems[0].to_string(),
            format!("{name}: contradicts UPSTREAMS_FILE")
        );
    }
}

#[test]
fn the_file_that_the_manifests_ship_is_one() {
    let shipped = include_str!("../../../../kustomize/components/upstreams/upstreams.toml");
    let text = shipped.replace("file:/etc/upstream-keys/azure", "file:/run/secrets/azure");
    let set = parse(&text).unwrap();
    let names: Vec<_> = set.upstreams.iter().map(|one| &*one.name).collect();
    assert_eq!(names, ["openai", "azure", "local"]);
    // Other routes, which cost more, go to the first alone.
    let of_routes: Vec<_> = set.upstreams.iter().map(|one| one.serves_all).collect();
    assert_eq!(of_routes, [true, false, false]);
}
