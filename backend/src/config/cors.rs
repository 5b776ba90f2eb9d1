//! Reads the origins whose pages may call the API.

use http::header::HeaderValue;
use reqwest::Url;

use super::CorsOrigins;

/// `*`, or origins with commas between them.
pub(super) fn origins(value: &str) -> Result<CorsOrigins, String> {
    if value.trim() == "*" {
        return Ok(CorsOrigins::Any);
    }
    let words = value
        .split(',')
        .map(str::trim)
        .filter(|word| !word.is_empty());
    let listed: Vec<_> = words.map(origin).collect::<Result<_, _>>()?;
    match listed.is_empty() {
        true => Err("names nothing".into()),
        false => Ok(CorsOrigins::Listed(listed)),
    }
}

/// An origin as a browser writes it: lower case, and no port that is the scheme's own.
fn origin(word: &str) -> Result<HeaderValue, String> {
    let wrong = "must be * or origins, as in https://app.example or http://localhost:5173";
    let (scheme, authority) = word.split_once("://").ok_or(wrong)?;
    let is_plain = |c: char| c.is_ascii_graphic() && !"/?#@*\\,".contains(c);
    if scheme.is_empty() || authority.is_empty() || !authority.chars().all(is_plain) {
        return Err(wrong.into());
    }
    let origin = Url::parse(word).map_err(|_| wrong)?.origin();
    // Extensions of browsers have schemes of their own.
    let written = match origin.is_tuple() {
        true => origin.ascii_serialization(),
        false => word.to_ascii_lowercase(),
    };
    HeaderValue::try_from(written).map_err(|_| wrong.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_written_as_browsers_write_them() {
        let given = "HTTPS://App.example:443, http://localhost:5173,chrome-extension://abc";
        let expected = [
            "https://app.example",
            "http://localhost:5173",
            "chrome-extension://abc",
        ];
        let expected = expected.map(HeaderValue::from_static).to_vec();
        assert_eq!(origins(given), Ok(CorsOrigins::Listed(expected)));
        assert_eq!(origins(" * "), Ok(CorsOrigins::Any));
        for wrong in [
            ",",
            "null",
            "app.example",
            "https://app.example/",
            "https://*.example",
            "https://a, *",
            "https://user@a",
        ] {
            assert!(origins(wrong).is_err(), "{wrong}");
        }
    }
}
