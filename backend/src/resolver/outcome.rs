//! What a call asks, and what it brings.

use std::sync::Arc;

use http::header::HeaderMap;
use tokio::time::Instant;

use super::coalescing::LeaderInput;
use crate::embeddings::answer::Answer;
use crate::embeddings::entry::Entry;
use crate::embeddings::request::Input;
use crate::http::error::Error;

/// An answer that the caller has.
pub(super) struct Called {
    pub(super) answer: Answer,
    pub(super) headers: HeaderMap,
    /// The scope of the vectors, if it is not the look-up's.
    pub(super) scope: Option<Arc<str>>,
    /// What the store had already of its inputs, as far as it was asked.
    pub(super) stored: Vec<Option<Arc<Entry>>>,
    /// Calls to other upstreams before it that may have been charged, too.
    pub(super) repeated: u32,
}

/// One call to the upstream.
pub(super) struct Call<'a> {
    pub(super) inputs: &'a [Input],
    /// How many requests the inputs are of.
    pub(super) requests: usize,
    /// Whether it goes before bulk.
    pub(super) is_single: bool,
    /// When it must have had its turn.
    pub(super) until: Instant,
}

/// A checked answer.
#[derive(Debug)]
pub(super) struct Checked {
    pub(super) answer: Answer,
    /// Those of its headers that a client may get.
    pub(super) headers: HeaderMap,
    /// When the upstream was asked.
    pub(super) sent: Instant,
    /// Calls to other upstreams before it that may have been charged, too.
    pub(super) repeated: u32,
}

/// When a wait for the upstream began and ended.
pub(super) type Wait = (Instant, Instant);

/// The inputs of a call, the wait for it, and its answer.
pub(super) type CallResult = (Vec<LeaderInput>, Wait, Result<Called, Error>);
