use super::*;
use crate::embeddings::request::MAX_MODEL_BYTES;

#[test]
fn a_tag_is_safe_in_a_ban_expression() {
    let tag = |name| Tag::model(name).to_string();
    assert_eq!(tag("BAAI/bge-m3"), "model:BAAI/bge-m3");
    assert_eq!(tag("a b\r\nX: ü&&"), "model:a_b__X:____");
}

#[test]
fn what_we_write_we_read() {
    let plain = Tag::new("", "docs/v1.2");
    for tag in [
        Tag::model("a/b"),
        Tag::scope("organization:x"),
        Tag::all(),
        plain,
    ] {
        assert_eq!(tag.to_string().parse(), Ok(tag));
    }
}

#[test]
fn the_longest_name_of_a_model_has_a_tag_too() {
    let longest = Tag::model(&"m".repeat(MAX_MODEL_BYTES)).to_string();
    assert_eq!(longest.len(), MAX_TAG_BYTES);
    assert!(longest.parse::<Tag>().is_ok());
}

#[test]
fn a_purge_names_tags_or_everything_and_never_nothing() {
    let to_purge = |pairs: &[(&'static str, &'static str)]| {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, HeaderValue::from_static(value));
        }
        super::to_purge(&headers)
    };
    let (a, b) = (Tag::new("m", "a"), Tag::new("m", "b"));
    assert_eq!(to_purge(&[]), Ok(vec![]));
    assert_eq!(to_purge(&[("x-purge-all", "TRUE")]), Ok(vec![Tag::all()]));
    let two = [("surrogate-key", " m:a,"), ("surrogate-key", "m:b")];
    assert_eq!(to_purge(&two), Ok(vec![a, b]));
    for (name, value, error) in [
        ("x-purge-all", "", TagError::NotTrue),
        ("x-purge-all", "1", TagError::NotTrue),
        ("surrogate-key", "", TagError::Nothing),
        ("surrogate-key", " , ", TagError::Nothing),
        ("surrogate-key", "m:a\tm:b", TagError::Malformed),
    ] {
        assert_eq!(to_purge(&[(name, value)]), Err(error), "{name}: {value}");
    }
}

#[test]
fn a_tag_counts_once_however_often_it_is_named() {
    let read = |list: &str| {
        let mut headers = HeaderMap::new();
        headers.insert(SURROGATE_KEY, HeaderValue::from_str(list).unwrap());
        super::to_purge(&headers)
    };
    assert_eq!(read(&"m:a ".repeat(5000)), Ok(vec![Tag::new("m", "a")]));
    let tag = |n: usize| format!("m:{n:06} ");
    let most = MAX_TAG_LIST_BYTES / tag(0).len();
    let list = |count: usize| (0..count).map(tag).collect::<String>();
    assert_eq!(read(&list(most)).unwrap().len(), most);
    assert_eq!(read(&list(most + 1)), Err(TagError::TooMany));
}

#[test]
fn what_is_no_tag_is_refused() {
    let long = format!("model:{}", "x".repeat(MAX_TAG_BYTES));
    for text in [
        "",
        "model:",
        ":x",
        ":",
        "model:a b",
        "m*:b",
        "a/b:c",
        "m:a*",
        "docs*",
    ] {
        assert_eq!(text.parse::<Tag>(), Err(TagError::Malformed), "{text}");
    }
    assert_eq!(long.parse::<Tag>(), Err(TagError::TooLong));
}
