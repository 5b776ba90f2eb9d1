//! A request's `Cache-Control`, by the grammar that Varnish reads it by: its README has it in ABNF.
//!
//! The grammar is RFC 9111's, in ASCII. A value that it does not allow may hide a `no-store`, and
//! counts as one.

use http::HeaderName;
use http::header::{CACHE_CONTROL, HeaderMap};

use super::{X_CLIENT_CACHE_CONTROL, has};

/// Longer values count as unreadable, as in Varnish, whose regular expressions would give up.
const MAX_VALUE_BYTES: usize = 1024;

/// What RFC 9110 allows in a token besides letters and digits.
const TOKEN_PUNCTUATION: &[u8] = b"!#$%&'*+-.^_`|~";

/// The directives of a request's `Cache-Control`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Directives {
    /// Do not answer from a cache.
    pub no_cache: bool,
    /// Do not store any of the answer.
    pub no_store: bool,
    /// Answer from a cache or not at all.
    pub only_if_cached: bool,
}

impl Directives {
    /// What is obeyed where the value is unreadable.
    const UNREADABLE: Self = Self {
        no_cache: false,
        no_store: true,
        only_if_cached: false,
    };

    /// The union of the client's directives and Varnish's: the strictest counts.
    pub fn of(headers: &HeaderMap) -> Self {
        let own = Self::in_lines(headers, &CACHE_CONTROL);
        let copied = Self::in_lines(headers, &X_CLIENT_CACHE_CONTROL);
        Self {
            no_cache: own.no_cache || copied.no_cache,
            no_store: own.no_store || copied.no_store,
            only_if_cached: own.only_if_cached || copied.only_if_cached,
        }
    }

    fn in_lines(headers: &HeaderMap, name: &HeaderName) -> Self {
        if !has(headers, name) {
            return Self::default();
        }
        let mut lines = headers.get_all(name).iter().map(|line| line.as_bytes());
        let Some(first) = lines.next() else {
            return Self::default();
        };
        let mut joined;
        let value = match lines.next() {
            None => first,
            Some(second) => {
                joined = [first, second].join(&b", "[..]);
                for line in lines {
                    joined.extend_from_slice(b", ");
                    joined.extend_from_slice(line);
                }
                &joined
            }
        };
        Self::parse(value).unwrap_or(Self::UNREADABLE)
    }

    fn parse(value: &[u8]) -> Option<Self> {
        if value.len() > MAX_VALUE_BYTES {
            return None;
        }
        let mut directives = Self::default();
        let mut rest = skip_blanks(value);
        loop {
            let (name, after) = token(rest);
            if !name.is_empty() {
                directives.note(name);
                rest = skip_blanks(skip_argument(after)?);
            }
            match rest {
                [] => return Some(directives),
                [b',', next @ ..] => rest = skip_blanks(next),
                _ => return None,
            }
        }
    }

    fn note(&mut self, name: &[u8]) {
        self.no_cache |= name.eq_ignore_ascii_case(b"no-cache");
        self.no_store |= name.eq_ignore_ascii_case(b"no-store");
        self.only_if_cached |= name.eq_ignore_ascii_case(b"only-if-cached");
    }
}

/// Skips `=` and what it announces, if it is there. `None` if it announces nothing.
fn skip_argument(text: &[u8]) -> Option<&[u8]> {
    match text {
        [b'=', b'"', quoted @ ..] => skip_quoted(quoted),
        [b'=', word @ ..] => match token(word) {
            ([], _) => None,
            (_, rest) => Some(rest),
        },
        _ => Some(text),
    }
}

/// Skips a quoted string, from behind its first quote on. `None` if it does not end.
fn skip_quoted(mut text: &[u8]) -> Option<&[u8]> {
    loop {
        text = match text {
            [b'"', rest @ ..] => return Some(rest),
            [b'\\', b'\t' | b' '..=b'~', rest @ ..] => rest,
            [b'\\', ..] => return None,
            [b'\t' | b' '..=b'~', rest @ ..] => rest,
            _ => return None,
        }
    }
}

fn token(text: &[u8]) -> (&[u8], &[u8]) {
    let fits = |byte: &u8| byte.is_ascii_alphanumeric() || TOKEN_PUNCTUATION.contains(byte);
    let end = text.iter().position(|byte| !fits(byte));
    text.split_at(end.unwrap_or(text.len()))
}

fn skip_blanks(text: &[u8]) -> &[u8] {
    let end = text.iter().position(|byte| !matches!(byte, b' ' | b'\t'));
    text.split_at(end.unwrap_or(text.len())).1
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use serde::Deserialize;

    use super::*;

    /// The cases that the tests of Varnish read too.
    const GRAMMAR: &str =
        include_str!("../../../../kustomize/components/varnish/cache-control.json");

    #[derive(Deserialize)]
    struct Grammar {
        longest: usize,
        cases: Vec<Case>,
    }

    #[derive(Deserialize)]
    struct Case {
        lines: Vec<String>,
        means: Vec<String>,
    }

    fn read(name: &HeaderName, lines: &[&str]) -> Directives {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(name, HeaderValue::from_bytes(line.as_bytes()).unwrap());
        }
        Directives::of(&headers)
    }

    #[test]
    fn every_case_means_what_the_table_says() {
        let grammar: Grammar = serde_json::from_str(GRAMMAR).unwrap();
        assert_eq!(grammar.longest, MAX_VALUE_BYTES);
        assert!(grammar.cases.len() > 40);
        for Case { lines, means } in grammar.cases {
            let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
            let means = |directive: &str| means.iter().any(|meaning| meaning == directive);
            let expected = Directives {
                no_cache: means("no-cache"),
                no_store: means("no-store"),
                only_if_cached: means("only-if-cached"),
            };
            for name in [&CACHE_CONTROL, &X_CLIENT_CACHE_CONTROL] {
                assert_eq!(read(name, &lines), expected, "{name}: {lines:?}");
            }
        }
    }

    #[test]
    fn the_longest_value_is_read_to_its_end_and_a_longer_one_means_no_store() {
        let end = ",no-cache";
        for filler in [",", "\t", "x=1,"] {
            let filler = filler.repeat(MAX_VALUE_BYTES);
            let longest = format!("{}{end}", &filler[..MAX_VALUE_BYTES - end.len()]);
            let read = |line| read(&CACHE_CONTROL, &[line]);
            assert!(read(&longest).no_cache, "{longest:.9}");
            assert_eq!(read(&format!("{longest},")), Directives::UNREADABLE);
        }
    }

    #[test]
    fn the_strictest_cache_control_counts() {
        let mut headers = HeaderMap::new();
        headers.insert(
            CACHE_CONTROL,
            HeaderValue::from_static("max-age=5, No-Cache"),
        );
        headers.insert(X_CLIENT_CACHE_CONTROL, HeaderValue::from_static("no-store"));
        let expected = Directives {
            no_cache: true,
            no_store: true,
            only_if_cached: false,
        };
        assert_eq!(Directives::of(&headers), expected);
        assert_eq!(Directives::of(&HeaderMap::new()), Directives::default());
    }
}
