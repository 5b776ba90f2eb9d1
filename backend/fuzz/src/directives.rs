//! `Cache-Control` of a request means what a second reading of its grammar, from the outside in,
//! finds in it; the reading of the code goes from left to right.

use embedding_gateway::http::headers::Directives;
use http::header::{CACHE_CONTROL, HeaderMap};

use crate::lines;

const LONGEST: usize = 1024;

/// Reads each line of `data` as one of the request's.
pub fn check(data: &[u8]) {
    let values = lines::values(data);
    let mut headers = HeaderMap::new();
    for value in &values {
        headers.append(CACHE_CONTROL, value.clone());
    }
    let joined = values
        .iter()
        .map(|value| value.as_bytes())
        .collect::<Vec<_>>()
        .join(&b", "[..]);
    let expected = second_reading(&joined).unwrap_or(Directives {
        no_store: true,
        ..Directives::default()
    });
    assert_eq!(Directives::of(&headers), expected);
}

/// Cuts the value at the commas that are not quoted, then looks at each piece.
fn second_reading(value: &[u8]) -> Option<Directives> {
    let readable =
        value.len() <= LONGEST && value.iter().all(|byte| matches!(byte, b'\t' | b' '..=b'~'));
    let text = std::str::from_utf8(value).ok().filter(|_| readable)?;
    let mut directives = Directives::default();
    for piece in pieces(text)? {
        let piece = piece.trim_matches([' ', '\t']);
        let (name, argument) = match piece.split_once('=') {
            Some((name, argument)) => (name, Some(argument)),
            None => (piece, None),
        };
        let is_empty = name.is_empty() && argument.is_none();
        if !(is_empty || is_token(name) && argument.is_none_or(is_argument)) {
            return None;
        }
        match &*name.to_ascii_lowercase() {
            "no-cache" => directives.no_cache = true,
            "no-store" => directives.no_store = true,
            "only-if-cached" => directives.only_if_cached = true,
            _ => {}
        }
    }
    Some(directives)
}

fn pieces(text: &str) -> Option<Vec<&str>> {
    let (mut quoted, mut escaped, mut begin) = (false, false, 0);
    let mut pieces = Vec::new();
    for (place, letter) in text.char_indices() {
        match letter {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            ',' if !quoted => {
                pieces.push(&text[begin..place]);
                begin = place + 1;
            }
            _ => {}
        }
    }
    pieces.push(&text[begin..]);
    (!quoted).then_some(pieces)
}

fn is_token(text: &str) -> bool {
    let fits = |letter: char| letter.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(letter);
    !text.is_empty() && text.chars().all(fits)
}

fn is_argument(text: &str) -> bool {
    let quoted = text
        .strip_prefix('"')
        .and_then(|text| text.strip_suffix('"'));
    match quoted {
        // What is escaped is no quote that ends the string.
        Some(inner) => !inner.replace("\\\\", "").replace("\\\"", "").contains('"'),
        None => is_token(text),
    }
}
