//! Recent errors by kind, with time and count. They hold no text of a client or an upstream.

use std::sync::{Mutex, PoisonError};

use http::Response;
use serde::Serialize;

use crate::http::error::UPSTREAM_REFUSED;

/// Bound on kinds: the page shows no longer list. A new kind replaces the one seen longest ago.
const KINDS: usize = 24;

/// The kind of an error: a code of the gateway's own, and a status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct ErrorKind {
    /// The `code` of the gateway's own errors; one word for all of the upstream's.
    pub code: &'static str,
    /// The answer's status.
    pub status: u16,
}

impl ErrorKind {
    /// The kind of this answer, if it is an error. Errors without a code are the upstream's.
    pub fn of<B>(answer: &Response<B>) -> Option<Self> {
        let status = answer.status();
        let is_error = status.is_client_error() || status.is_server_error();
        let code = answer.extensions().get().copied();
        is_error.then(|| Self {
            code: code.unwrap_or(UPSTREAM_REFUSED).0,
            status: status.as_u16(),
        })
    }
}

/// A kind of error, and how often clients got it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct RecentError {
    /// The kind.
    #[serde(flatten)]
    pub kind: ErrorKind,
    /// How often clients got it.
    pub count: u64,
    /// When a client last got it, in Unix milliseconds.
    pub last_ms: u64,
}

/// The most recent kinds.
#[derive(Debug, Default)]
pub(super) struct RecentErrors(Mutex<Vec<RecentError>>);

impl RecentErrors {
    /// Notes one answer.
    pub(super) fn note(&self, kind: ErrorKind, now_ms: u64) {
        let mut errors = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = match errors.iter().position(|error| error.kind == kind) {
            Some(place) => errors.remove(place).count + 1,
            None => 1,
        };
        errors.insert(
            0,
            RecentError {
                kind,
                count,
                last_ms: now_ms,
            },
        );
        errors.truncate(KINDS);
    }

    /// All kinds, the latest first.
    pub(super) fn latest_first(&self) -> Vec<RecentError> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(status: u16) -> ErrorKind {
        ErrorKind {
            code: "upstream_refused",
            status,
        }
    }

    #[test]
    fn one_kind_is_one_line_and_the_latest_comes_first() {
        let errors = RecentErrors::default();
        for (status, now_ms) in [(429, 1), (500, 2), (429, 3)] {
            errors.note(kind(status), now_ms);
        }
        let seen: Vec<_> = errors.latest_first();
        let seen = seen.iter().map(|e| (e.kind.status, e.count, e.last_ms));
        assert_eq!(seen.collect::<Vec<_>>(), [(429, 2, 3), (500, 1, 2)]);
    }

    #[test]
    fn the_list_does_not_grow_for_ever() {
        let errors = RecentErrors::default();
        for status in 400..500 {
            errors.note(kind(status), 0);
        }
        let seen = errors.latest_first();
        assert_eq!((seen.len(), seen[0].kind.status), (KINDS, 499));
    }
}
