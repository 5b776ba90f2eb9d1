//! A look-up of vectors, its partial and its final result.

use std::borrow::Cow;
use std::sync::Arc;

use http::header::HeaderMap;

use super::coalescing::LeaderInput;
use super::request_context::RequestContext;
use super::waits::Waits;
use crate::access::Caller;
use crate::embeddings::entry::Entry;
use crate::embeddings::key::{Key, KeyBuilder, KeyScope};
use crate::embeddings::request::{EmbeddingRequest, Input};
use crate::telemetry::{Outcome, Tally};
use crate::upstream::{Group, Size};

/// The vectors that a request asks for.
#[derive(Clone, Debug)]
pub struct EmbeddingLookup {
    /// All of the request but its inputs.
    pub request: EmbeddingRequest,
    /// The upstreams that may be asked.
    pub group: Arc<Group>,
    /// The parts of its keys that the request does not hold.
    pub key_scope: KeyScope,
    /// The name of what all its keys have in common.
    pub family: Key,
    /// Its distinct inputs.
    pub distinct: Vec<(Key, Input)>,
    /// The caller whose credential pays.
    pub caller: Caller,
    /// Whether vectors may come from a tier, or from another request's call.
    pub read: bool,
    /// Whether new vectors may go into a tier.
    pub write: bool,
    /// Whether the look-up must not call the upstream.
    pub only_if_cached: bool,
    /// The query of the caller's request, which goes upstream.
    pub query: Option<Arc<str>>,
    /// Its request's, kept until the last call for it has ended.
    pub context: RequestContext,
}

/// All vectors of a look-up.
#[derive(Debug)]
pub struct Resolved {
    /// One entry for each distinct input, in order.
    pub entries: Vec<Arc<Entry>>,
    /// Where they came from.
    pub tally: Tally,
    /// Notes of the calls to the upstream, if there were any.
    pub call: CallNotes,
}

/// What calls to the upstream told besides vectors.
#[derive(Clone, Debug, Default)]
pub struct CallNotes {
    /// The tokens that it charged.
    pub billed_tokens: u64,
    /// Those of its headers that the client gets.
    pub headers: HeaderMap,
    /// The scope of the vectors, if the answer changed it.
    pub scope: Option<Arc<str>>,
    /// The times of waiting for it.
    pub waits: Waits,
    /// Calls that may have been charged, and that another upstream took over.
    pub repeated: u32,
}

impl EmbeddingLookup {
    /// The size of one of its distinct inputs.
    pub(super) fn size(&self, place: usize) -> Size {
        Size::of(&self.distinct[place].1)
    }

    /// The inputs that it leads.
    pub(super) fn inputs_of(&self, claimed: &[LeaderInput]) -> Vec<Input> {
        let input = |claim: &LeaderInput| self.distinct[claim.place].1.clone();
        claimed.iter().map(input).collect()
    }

    /// The look-up in the scope that an answer named, if it named one.
    pub(super) fn in_scope(&self, scope: Option<&Arc<str>>) -> Cow<'_, Self> {
        match scope.filter(|scope| **scope != self.key_scope.scope) {
            None => Cow::Borrowed(self),
            Some(scope) => {
                let mut moved = self.clone();
                moved.enter(scope);
                Cow::Owned(moved)
            }
        }
    }

    /// Moves the look-up into another scope.
    pub fn enter(&mut self, scope: &Arc<str>) {
        self.key_scope = self.key_scope.with_scope(scope);
        self.caller.scope = Arc::clone(scope);
        self.name_anew();
    }

    /// The look-up of the same inputs' vectors of another length.
    #[must_use]
    pub fn of_length(mut self, dimensions: Option<u32>) -> Self {
        self.request.dimensions = dimensions;
        self.name_anew();
        self
    }

    fn name_anew(&mut self) {
        let keys = KeyBuilder::new(&self.key_scope, &self.request);
        self.family = keys.family();
        for (key, input) in &mut self.distinct {
            *key = keys.key(input);
        }
    }
}

impl CallNotes {
    /// Adds the notes of a later call. Where both have a value, the later one counts.
    pub fn add(&mut self, later: Self) {
        self.billed_tokens += later.billed_tokens;
        self.repeated += later.repeated;
        self.waits.extend(later.waits);
        self.scope = later.scope.or_else(|| self.scope.take());
        if !later.headers.is_empty() {
            self.headers = later.headers;
        }
    }
}

/// The entries of a look-up found so far.
pub(super) struct PartialResult {
    pub(super) entries: Vec<Option<Arc<Entry>>>,
    /// Where each entry came from.
    sources: Vec<Outcome>,
    pub(super) tally: Tally,
    pub(super) call: CallNotes,
}

impl PartialResult {
    pub(super) fn nothing(count: usize) -> Self {
        Self {
            entries: vec![None; count],
            sources: vec![Outcome::Miss; count],
            tally: Tally::default(),
            call: CallNotes::default(),
        }
    }

    pub(super) fn put(&mut self, place: usize, entry: Arc<Entry>, source: Outcome) {
        *self.tally.count_of(source) += 1;
        self.sources[place] = source;
        self.entries[place] = Some(entry);
    }

    /// Counts an input as a miss, whichever tier its vector came from: the upstream charged for it.
    pub(super) fn is_paid_for(&mut self, place: usize) {
        if let Some(source) = self.sources.get_mut(place) {
            *self.tally.count_of(*source) -= 1;
            *source = Outcome::Miss;
            *self.tally.count_of(Outcome::Miss) += 1;
        }
    }

    pub(super) fn missing(&self) -> Vec<usize> {
        let empty = self
            .entries
            .iter()
            .enumerate()
            .filter(|(_, entry)| entry.is_none());
        empty.map(|(place, _)| place).collect()
    }

    /// Whether all vectors are of one model and one length.
    pub(super) fn is_uniform(&self) -> bool {
        let mut kinds = self
            .entries
            .iter()
            .flatten()
            .map(|entry| (entry.dimensions(), &entry.model));
        let first = kinds.next();
        kinds.all(|kind| Some(kind) == first)
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
