//! Which requests are hashed, decided from their headers alone.
//!
//! The filter never holds a request that is named here: holding a tunnel, an upgrade or a bidirectional stream would
//! wait for an end that does not come. Header values are bytes; a client may send any.

use crate::config::Config;
use crate::stats::Reason;

/// The headers of a request.
pub trait RequestHead {
    /// The first value of the header `name` (lower-case), as the client sent it.
    fn get(&self, name: &str) -> Option<&[u8]>;
}

/// Why the filter must not hash this request, or `None` if it must.
///
/// `ends_here` says that the headers are the whole request.
pub fn reason_to_skip(config: &Config, head: &impl RequestHead, ends_here: bool) -> Option<Reason> {
    reason_to_skip_within(config.max_body_bytes, config, head, ends_here)
}

/// As [`reason_to_skip`], with a cap of the host's in place of the configured one.
pub fn reason_to_skip_within(
    cap: u64,
    config: &Config,
    head: &impl RequestHead,
    ends_here: bool,
) -> Option<Reason> {
    if !selected(config, head) {
        Some(Reason::NotSelected)
    } else if is_connect(head) {
        Some(Reason::Connect)
    } else if head.get("upgrade").is_some() {
        Some(Reason::Upgrade)
    } else if is_grpc(head) {
        Some(Reason::Grpc)
    } else if ends_here {
        Some(Reason::NoBody)
    } else {
        by_length(cap, head).or_else(|| waits_for_upstream(head).then_some(Reason::Expect))
    }
}

fn selected(config: &Config, head: &impl RequestHead) -> bool {
    // Most configurations have no lists; then the filter fetches none of these headers.
    let host_fits = config.hosts.is_empty()
        || head
            .get(":authority")
            .is_some_and(|authority| config.hosts.iter().any(|host| host.matches(authority)));
    host_fits
        && (config.path_prefixes.is_empty()
            || head.get(":path").is_some_and(|path| {
                config
                    .path_prefixes
                    .iter()
                    .any(|prefix| prefix.matches(path))
            }))
}

/// CONNECT, also the extended one of RFC 8441 and RFC 9220.
fn is_connect(head: &impl RequestHead) -> bool {
    head.get(":method")
        .is_some_and(|method| method == b"CONNECT")
        || head.get(":protocol").is_some()
}

/// `application/grpc` and its kin (`+proto`, `-web`): what Envoy itself takes for gRPC, and more.
fn is_grpc(head: &impl RequestHead) -> bool {
    const GRPC: &[u8] = b"application/grpc";
    head.get("content-type").is_some_and(|value| {
        value
            .get(..GRPC.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(GRPC))
    })
}

/// Envoy answers `100-continue` itself and removes it before any filter runs. Where the operator forbids that
/// (`proxy_100_continue`), no body comes before the upstream has seen the headers.
fn waits_for_upstream(head: &impl RequestHead) -> bool {
    head.get("expect")
        .is_some_and(|value| value.trim_ascii().eq_ignore_ascii_case(b"100-continue"))
}

/// A length that is no number is Envoy's to refuse; the filter then counts the body as it comes.
fn by_length(cap: u64, head: &impl RequestHead) -> Option<Reason> {
    let value = head.get("content-length")?;
    let digits = value.trim_ascii();
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let length = digits.iter().fold(0_u64, |length, digit| {
        length
            .saturating_mul(10)
            .saturating_add(u64::from(digit - b'0'))
    });
    if length == 0 {
        Some(Reason::NoBody)
    } else if length > cap {
        Some(Reason::TooLarge)
    } else {
        None
    }
}
