//! Facts that the gateway and Varnish must agree on.

use std::collections::BTreeSet;
use std::path::Path;

use embedding_gateway::http::credentials::CREDENTIAL_HEADERS;
use embedding_gateway::http::tags::{MAX_TAG_BYTES, PUNCTUATION};

fn vcl(file: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../kustomize/components/varnish");
    std::fs::read_to_string(folder.join(file)).unwrap()
}

#[test]
fn a_credential_is_the_same_headers_in_both() {
    let hashed = |text: &str| -> BTreeSet<String> {
        let hashed = text.split("hash_data(").skip(1);
        let names = hashed.filter_map(|rest| rest.split_once(')')?.0.split_once("req.http."));
        names.map(|(_, name)| name.to_lowercase()).collect()
    };
    let mut expected: BTreeSet<String> = CREDENTIAL_HEADERS
        .iter()
        .map(|name| name.as_str().to_owned())
        .collect();
    expected.insert("x-body-hash".into());
    assert_eq!(hashed(&vcl("default.vcl")), expected);
}

#[test]
fn a_tag_is_the_same_in_both() {
    // Possessive: matching a long list must not keep a backtracking point for each tag.
    let name = |punctuation: &str| format!("[A-Za-z0-9{punctuation}]++");
    let ends = "(?:[ ,]|$)";
    // The cache in front takes a name without a kind, too.
    let (named, plain) = (name(PUNCTUATION), name(&PUNCTUATION.replace(':', "")));
    let either = format!("(?:[0-9A-Za-z]++:{named}|{plain})");
    let tag = format!("(?=[^ ,]{{1,{MAX_TAG_BYTES}}}{ends}){either}");
    let list = format!("\"^[ ,]*(?:{tag}(?:[ ,]++|$))++$\"");
    assert!(vcl("purge.vcl").contains(&list), "{list}");
}
