//! Which paths an allowed route names.

/// Whether `route` allows `path`: `/v1/files/*` allows everything below `/v1/files/`.
pub(super) fn matches(route: &str, path: &str) -> bool {
    match route.strip_suffix('*') {
        Some(below) if below.ends_with('/') => path.starts_with(below) && path.len() > below.len(),
        _ => route == path,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_matches_exactly_or_everything_below() {
        assert!(matches("/v1/models", "/v1/models"));
        assert!(!matches("/v1/models", "/v1/models/x"));
        assert!(matches("/v1/models/*", "/v1/models/x/y"));
        assert!(!matches("/v1/models/*", "/v1/models/"));
        assert!(!matches("/v1/models/*", "/v1/models"));
    }
}
