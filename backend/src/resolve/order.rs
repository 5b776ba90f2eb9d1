//! What a request wants, what it gets, and what lies between.

use std::sync::Arc;

use http::header::HeaderMap;

use super::waits::Waits;
use crate::access::Caller;
use crate::embeddings::entry::Entry;
use crate::embeddings::key::{Key, Realm};
use crate::embeddings::request::{EmbeddingRequest, Input};
use crate::running::Ticket;
use crate::telemetry::Outcome;

/// What a request wants.
#[derive(Clone, Debug)]
pub struct Order {
    /// All of the request but its inputs.
    pub request: EmbeddingRequest,
    /// Where its vectors are named.
    pub realm: Realm,
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
    pub ticket: Ticket,
}

/// What a request gets.
#[derive(Debug)]
pub struct Supply {
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

/// Different inputs by where their vectors came from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// From memory.
    pub memory: usize,
    /// From the store.
    pub store: usize,
    /// From somebody else's call.
    pub collapsed: usize,
    /// From the upstream.
    pub miss: usize,
}

/// Entries on their way to becoming a supply.
pub(super) struct Found {
    pub(super) entries: Vec<Option<Arc<Entry>>>,
    pub(super) tally: Tally,
    pub(super) call: CallNotes,
}

impl Found {
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

impl From<Found> for Supply {
    fn from(found: Found) -> Self {
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

impl Tally {
    fn count_of(&mut self, source: Outcome) -> &mut usize {
        match source {
            Outcome::Memory => &mut self.memory,
            Outcome::Store => &mut self.store,
            Outcome::Collapsed => &mut self.collapsed,
            Outcome::Miss | Outcome::Repeat => &mut self.miss,
        }
    }

    /// How many came from a tier.
    pub fn hits(&self) -> usize {
        self.memory + self.store
    }
}
