//! Which hosts and paths an instance is for.

/// A host to hash for: `api.example.com`, or `*.example.com` for every name below it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPattern {
    /// Lower-case; with its leading dot when only names below it fit.
    name: String,
    below: bool,
}

impl HostPattern {
    /// Reads a pattern. A port, a scheme or a bare `*` is none: the port of a request is never
    /// looked at, and an empty list already means every host.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let name = text.to_ascii_lowercase();
        let (name, below) = match name.strip_prefix('*') {
            Some(rest) => (rest.to_owned(), true),
            None => (name, false),
        };
        let bare = if below {
            name.strip_prefix('.')?
        } else {
            &name
        };
        let is_name = !bare.is_empty()
            && !bare.starts_with('.')
            && bare
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte));
        let is_ipv6 = !below && bare.starts_with('[') && bare.ends_with(']');
        (is_name || is_ipv6).then_some(Self { name, below })
    }

    /// Whether the host of `authority` fits, whatever its port and case.
    #[must_use]
    pub fn matches(&self, authority: &[u8]) -> bool {
        let host = without_port(authority);
        if self.below {
            let ending = host
                .len()
                .checked_sub(self.name.len())
                .and_then(|at| host.get(at..));
            host.len() > self.name.len()
                && ending.is_some_and(|ending| ending.eq_ignore_ascii_case(self.name.as_bytes()))
        } else {
            host.eq_ignore_ascii_case(self.name.as_bytes())
        }
    }
}

/// `host:port` or `[v6]:port` without the port.
fn without_port(authority: &[u8]) -> &[u8] {
    match authority.iter().rposition(|byte| *byte == b':') {
        Some(colon) if !authority.ends_with(b"]") => authority.get(..colon).unwrap_or(authority),
        _ => authority,
    }
}

/// A part of the path space to hash for. Whole segments: `/v1` is not the beginning of `/v1beta`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathPrefix(String);

impl PathPrefix {
    /// Reads a prefix: an absolute path without query or fragment.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let is_path = text.starts_with('/')
            && text
                .bytes()
                .all(|byte| byte.is_ascii_graphic() && byte != b'?' && byte != b'#');
        is_path.then(|| Self(text.to_owned()))
    }

    /// Whether `path`, its query aside, is this prefix or lies below it. Case counts, and nothing
    /// is decoded.
    #[must_use]
    pub fn matches(&self, path: &[u8]) -> bool {
        let path = path
            .split(|byte| matches!(byte, b'?' | b'#'))
            .next()
            .unwrap_or_default();
        path.strip_prefix(self.0.as_bytes())
            .is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/") || self.0.ends_with('/'))
    }
}
