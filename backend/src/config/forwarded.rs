//! Which headers the operator may have forwarded, as part of a caller's credential.
//!
//! Varnish takes the same variable: `start.sh` there parts and checks names by the same rules.

use http::header::HeaderName;

/// Headers that mean something to the gateway, to a cache or to one connection, in lower case.
const RESERVED: [&str; 31] = [
    "accept-encoding",
    "age",
    "cache-control",
    "cache-status",
    "connection",
    "cookie",
    "date",
    "expect",
    "forwarded",
    "host",
    "http2-settings",
    "keep-alive",
    "origin",
    "pragma",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "range",
    "surrogate-key",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "via",
    "traceparent",
    "tracestate",
    "baggage",
    "x-body-hash",
    "x-client-cache-control",
    "x-embedding-billed-tokens",
    "x-purge-all",
];

const RESERVED_PREFIXES: [&str; 7] = [
    "access-control-",
    "content-",
    "if-",
    "x-b3-",
    "x-envoy-",
    "x-forwarded-",
    "x-varnish",
];

/// Names with commas between them, each once and in order, so that their order in the variable
/// changes no credential.
pub(crate) fn names(value: &str) -> Result<Vec<HeaderName>, String> {
    let words = value.split(|c: char| c == ',' || c.is_ascii_whitespace());
    let words = words.filter(|word| !word.is_empty());
    let mut names = words.map(name).collect::<Result<Vec<_>, _>>()?;
    names.sort_unstable_by(|one, next| one.as_str().cmp(next.as_str()));
    names.dedup();
    Ok(names)
}

fn name(word: &str) -> Result<HeaderName, String> {
    let can_be_named = word.starts_with(|c: char| c.is_ascii_alphabetic())
        && word
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
    // What is no name may be a value, which could be a secret.
    let name: Option<HeaderName> = word.parse().ok().filter(|_| can_be_named);
    let name = name.ok_or("must be names of headers, of letters, digits, - and _, with commas")?;
    match is_reserved(name.as_str()) {
        true => Err(format!(
            "{name} identifies no client: it cannot be forwarded"
        )),
        false => Ok(name),
    }
}

/// Whether a header, in lower case, has a meaning of its own on the way to the upstream.
pub(crate) fn is_reserved(name: &str) -> bool {
    RESERVED.contains(&name)
        || RESERVED_PREFIXES
            .iter()
            .any(|prefix| name.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_parted_as_varnish_parts_them() {
        let parted = names(" X_Team,Ocp-Apim-Subscription-Key, x_team ,").unwrap();
        assert_eq!(parted, ["ocp-apim-subscription-key", "x_team"]);
        assert_eq!(names("b a").unwrap(), names("a,b").unwrap());
        for wrong in ["X Team:1", "x.y", "1x", "-x", "x;y", "é", "X-Key: secret"] {
            let reason = names(wrong).unwrap_err();
            assert!(!reason.contains("secret"), "{reason}");
        }
    }

    #[test]
    fn what_identifies_no_client_is_refused_by_its_name() {
        for reserved in ["Host", "Content-Type", "Cache-Control", "X-Body-Hash", "TE"] {
            let reason = names(&format!("X-Team, {reserved}")).unwrap_err();
            assert!(reason.starts_with(&reserved.to_lowercase()), "{reason}");
        }
    }
}
