//! What a PURGE names is sent on as it is read again, and no name of a model or a scope can write
//! more than one tag.

use embedding_gateway::http::headers::{SURROGATE_KEY, X_PURGE_ALL};
use embedding_gateway::http::tags::{
    MAX_TAG_BYTES, MAX_TAG_LIST_BYTES, PUNCTUATION, Tag, header, of_answer, to_purge,
};
use http::header::HeaderMap;

use crate::lines;

/// Reads the lines of `data` as values of `Surrogate-Key`, the first as one of `X-Purge-All` too;
/// and all of it as a name.
pub fn check(data: &[u8]) {
    let values = lines::values(data);
    let mut headers = HeaderMap::new();
    for value in &values {
        headers.append(SURROGATE_KEY, value.clone());
    }
    if let Ok(tags) = to_purge(&headers) {
        read_back(&tags);
    }
    if let Some(first) = values.first() {
        headers.insert(X_PURGE_ALL, first.clone());
        let is_all = to_purge(&headers).is_ok_and(|tags| tags[0] == Tag::all());
        assert!(!is_all || first.as_bytes().eq_ignore_ascii_case(b"true"));
    }
    names_one_tag(&String::from_utf8_lossy(data));
}

fn read_back(tags: &[Tag]) {
    let list = header(tags);
    assert!(list.len() <= MAX_TAG_LIST_BYTES);
    for tag in tags {
        let text = tag.to_string();
        assert!(text.len() <= MAX_TAG_BYTES && is_safe(&text));
        assert_eq!(text.parse().as_ref(), Ok(tag));
    }
    if !tags.is_empty() {
        let again = to_purge(&HeaderMap::from_iter([(SURROGATE_KEY, list)]));
        assert_eq!(again.as_deref(), Ok(tags));
    }
}

fn names_one_tag(name: &str) {
    let model = Tag::model(name).to_string();
    assert!(is_safe(&model));
    assert_eq!(
        model.parse::<Tag>().is_ok(),
        !name.is_empty() && model.len() <= MAX_TAG_BYTES
    );
    let answer = of_answer(name, name, "own");
    let expected = header(&[Tag::model(name), Tag::scope(name), Tag::scope("own")]);
    assert!(name == "own" || answer == expected);
}

fn is_safe(text: &str) -> bool {
    let fits = |letter: char| letter.is_ascii_alphanumeric() || PUNCTUATION.contains(letter);
    text.chars().all(fits)
}
