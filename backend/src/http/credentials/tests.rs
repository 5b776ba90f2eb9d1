use http::HeaderValue;

use super::*;

fn credential(pairs: &[(HeaderName, &'static str)]) -> Credential {
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        headers.append(name, HeaderValue::from_static(value));
    }
    Credential::take(&mut headers, &[])
}

#[test]
fn credentials_that_differ_in_one_part_have_different_names() {
    let full: Vec<_> = CREDENTIAL_HEADERS
        .into_iter()
        .map(|name| (name, "a"))
        .collect();
    let mut names = vec![credential(&full).id, credential(&[]).id];
    for (part, (header, _)) in full.iter().enumerate() {
        let mut changed = full.clone();
        changed[part].1 = "b";
        names.push(credential(&changed).id);
        changed.remove(part);
        names.push(credential(&changed).id);
        names.push(credential(&[(header.clone(), "a")]).id);
        names.push(credential(&[(header.clone(), "a"), (header.clone(), "a")]).id);
        names.push(credential(&[(header.clone(), "aa")]).id);
        names.push(credential(&[(header.clone(), "")]).id);
    }
    let count = names.len();
    names.sort_by_key(|id| id.0);
    names.dedup();
    assert_eq!(names.len(), count);
}

#[test]
fn further_headers_are_part_of_a_credential() {
    let names = ["x-a", "x-b"].map(HeaderName::from_static);
    let id = |pairs: &[(&'static str, &'static str)]| {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, HeaderValue::from_static(value));
        }
        let credential = Credential::take(&mut headers, &names);
        assert!(headers.is_empty());
        assert!(!format!("{credential:?}").contains("of-a-client"));
        credential.id
    };
    let all = [
        credential(&[]).id,
        id(&[("x-a", "of-a-client")]),
        id(&[("x-b", "of-a-client")]),
        id(&[("x-a", "")]),
        id(&[("x-a", ""), ("x-a", "")]),
        id(&[("x-a", ""), ("x-b", "")]),
    ];
    for (place, one) in all.iter().enumerate() {
        assert!(!all[..place].contains(one), "{place}");
    }
    assert_eq!(id(&[]), credential(&[]).id, "its vectors stay its own");
}

#[test]
fn a_credential_leaves_the_headers_and_shows_nothing() {
    let mut headers = HeaderMap::new();
    headers.insert(AUTHORIZATION, HeaderValue::from_static("Bearer sk-secret"));
    headers.insert("x-other", HeaderValue::from_static("1"));
    let credential = Credential::take(&mut headers, &[]);
    assert_eq!(headers.len(), 1);
    assert!(!format!("{credential:?}").contains("sk-secret"));
}

#[test]
fn the_presented_key_is_found_in_each_place() {
    let [authorization, api_key, x_api_key, ..] = CREDENTIAL_HEADERS;
    assert_eq!(
        credential(&[(authorization.clone(), "bEARER k")]).key(),
        Some(&b"k"[..])
    );
    assert_eq!(credential(&[(api_key, "k")]).key(), Some(&b"k"[..]));
    assert_eq!(
        credential(&[(x_api_key.clone(), "k")]).key(),
        Some(&b"k"[..])
    );
    assert_eq!(
        credential(&[(authorization, "Basic k"), (x_api_key, "k")]).key(),
        None
    );
    assert_eq!(credential(&[]).key(), None);
}
