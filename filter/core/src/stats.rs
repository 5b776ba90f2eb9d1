//! How a request ends, and the name under which Envoy counts it.
//!
//! Every request that reaches a deciding filter (`gate`, `single`, the native module) ends in exactly one [`Outcome`].

use crate::digest::{Digest, Incomplete};

/// Counter: requests that went on with the header.
pub const HASHED: &str = "hashed";

/// Counter: requests that went on without it, each under a [`Reason`].
pub const SKIPPED: &str = "skipped";

/// Gauge: requests held at this moment, over all workers.
pub const HELD: &str = "held";

/// How one request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The header carries this digest.
    Hashed(Digest),
    /// The request went on without the header.
    Skipped(Reason),
}

impl Outcome {
    /// The body is longer than the cap.
    pub const TOO_LARGE: Self = Self::Skipped(Reason::TooLarge);
}

impl From<Option<Digest>> for Outcome {
    fn from(digest: Option<Digest>) -> Self {
        digest.map_or(Self::Skipped(Reason::NoBody), Self::Hashed)
    }
}

/// Why a request went on without the header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Its host or path is not in the operator's lists.
    NotSelected,
    /// CONNECT, plain or extended: what follows is a tunnel, not a body.
    Connect,
    /// It asks for another protocol (WebSocket).
    Upgrade,
    /// gRPC: the server may answer before the client ends.
    Grpc,
    /// The client waits for the upstream's `100 Continue`, and sends its body only then.
    Expect,
    /// There is nothing to hash.
    NoBody,
    /// The body is longer than `maxBodyBytes`.
    TooLarge,
    /// The gate found no tap of its own VM before it.
    TwinAbsent,
    /// No byte arrived for `stallTimeout`.
    Stalled,
    /// The stream, or the root context that watched over it, ended before its body did, or Envoy did not hand over the
    /// body.
    Aborted,
}

impl From<Incomplete> for Reason {
    fn from(why: Incomplete) -> Self {
        match why {
            Incomplete::OverCap => Self::TooLarge,
            Incomplete::Missing => Self::Aborted,
        }
    }
}

impl Reason {
    /// Every reason, in the order of the variants.
    pub const ALL: [Self; 10] = [
        Self::NotSelected,
        Self::Connect,
        Self::Upgrade,
        Self::Grpc,
        Self::Expect,
        Self::NoBody,
        Self::TooLarge,
        Self::TwinAbsent,
        Self::Stalled,
        Self::Aborted,
    ];

    /// The name that statistics have for it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::NotSelected => "not_selected",
            Self::Connect => "connect",
            Self::Upgrade => "upgrade",
            Self::Grpc => "grpc",
            Self::Expect => "expect",
            Self::NoBody => "no_body",
            Self::TooLarge => "too_large",
            Self::TwinAbsent => "twin_absent",
            Self::Stalled => "stalled",
            Self::Aborted => "aborted",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Reason;

    #[test]
    fn every_reason_stands_at_its_own_place() {
        for (place, reason) in Reason::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, place);
        }
    }

    #[test]
    fn no_two_reasons_share_a_name() {
        let mut names: Vec<_> = Reason::ALL.iter().map(|reason| reason.name()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Reason::ALL.len());
    }
}
