//! What a request wants, what it gets, and what lies between.

use std::sync::Arc;

use http::header::HeaderMap;

use super::request_context::RequestContext;
use super::waits::Waits;
use crate::access::Caller;
use crate::embeddings::entry::Entry;
use crate::embeddings::key::{Key, KeyScope};
use crate::embeddings::request::{EmbeddingRequest, Input};
use crate::telemetry::{Outcome, Tally};

/// What a request wants.
#[derive(Clone, Debug)]
pub struct EmbeddingLookup {
    /// All of the request but its inputs.
    pub request: EmbeddingRequest,
    /// Where its vectors are named.
    pub key_scope: KeyScope,
    /// Its different inputs.
    pub distinct: Vec<(Key, Input)>,
    /// In whose name.
    pub caller: Caller,
    /// Whether vectors may come from a tier, or from somebody else's call.
    pub read: bool,
    /// Whether vectors may go into a tier.
    pub write: bool,
    /// Whether the upstream must not be asked.
    pub only_if_cached: bool,
    /// Its request's, kept until the last call for it has ended.
    pub context: RequestContext,
}

/// What a request gets.
#[derive(Debug)]
pub struct Resolved {
    /// One entry for each different input, in order.
    pub entries: Vec<Arc<Entry>>,
    /// Where they came from.
    pub tally: Tally,
    /// What the upstream said besides, if it was asked.
    pub call: CallNotes,
}

/// What the upstream said besides the vectors.
#[derive(Clone, Debug, Default)]
pub struct CallNotes {
    /// What it charged, in tokens.
    pub billed_tokens: u64,
    /// Those of its headers that are for the caller.
    pub headers: HeaderMap,
    /// Whose vectors they turned out to be, if that was not known before.
    pub scope: Option<Arc<str>>,
    /// When we waited for it.
    pub waits: Waits,
}

impl CallNotes {
    /// Adds what a later call brought. What both of them say, the later one says.
    pub(super) fn add(&mut self, later: Self) {
        self.billed_tokens += later.billed_tokens;
        self.waits.extend(later.waits);
        self.scope = later.scope.or_else(|| self.scope.take());
        if !later.headers.is_empty() {
            self.headers = later.headers;
        }
    }
}

/// Entries on their way to becoming a supply.
pub(super) struct PartialResult {
    pub(super) entries: Vec<Option<Arc<Entry>>>,
    pub(super) tally: Tally,
    pub(super) call: CallNotes,
}

impl PartialResult {
    pub(super) fn nothing(count: usize) -> Self {
        Self {
            entries: vec![None; count],
            tally: Tally::default(),
            call: CallNotes::default(),
        }
    }

    pub(super) fn put(&mut self, place: usize, entry: Arc<Entry>, source: Outcome) {
        *self.tally.count_of(source) += 1;
        self.entries[place] = Some(entry);
    }

    pub(super) fn missing(&self) -> Vec<usize> {
        let empty = self
            .entries
            .iter()
            .enumerate()
            .filter(|(_, entry)| entry.is_none());
        empty.map(|(place, _)| place).collect()
    }

    /// Whether all vectors are of one length.
    pub(super) fn is_uniform(&self) -> bool {
        let mut lengths = self
            .entries
            .iter()
            .flatten()
            .map(|entry| entry.vector.len());
        let first = lengths.next();
        lengths.all(|length| Some(length) == first)
    }

    pub(super) fn is_complete(&self) -> bool {
        self.entries.iter().all(Option::is_some)
    }
}

impl From<PartialResult> for Resolved {
    fn from(found: PartialResult) -> Self {
        Self {
            // In place, unlike `flatten`.
            entries: found
                .entries
                .into_iter()
                .collect::<Option<_>>()
                .unwrap_or_default(),
            tally: found.tally,
            call: found.call,
        }
    }
}
