//! What the stand-in was asked, as `/stats` tells it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;

use crate::exchange::Call;
use crate::keys::digest;
use crate::request::{EmbeddingsRequest, Encoding, Input};

/// Headers whose value is told as a digest, so that no key stands in the clear.
const SECRET_HEADERS: [&str; 4] = ["authorization", "api-key", "x-api-key", "cookie"];

/// Counters since the start or the last `DELETE /stats`.
#[derive(Debug, Default, Clone, Serialize)]
pub(crate) struct Counters {
    /// Requests by `METHOD /path`.
    requests: BTreeMap<String, u64>,
    /// Answers by status.
    statuses: BTreeMap<u16, u64>,
    embeddings: EmbeddingsCounters,
    /// Requests by the SHA-256 of the key they presented.
    keys: BTreeMap<String, u64>,
    /// Requests that are being answered.
    in_flight: u64,
    /// The most that were answered at one time.
    max_in_flight: u64,
    /// Clients that went away before their answer was complete.
    hang_ups: u64,
    last_request: Option<LastRequest>,
}

/// Valid embeddings requests, whether or not a fault then struck them.
#[derive(Debug, Default, Clone, Serialize)]
struct EmbeddingsCounters {
    calls: u64,
    inputs: u64,
    tokens: u64,
    largest_batch: usize,
    float_calls: u64,
    base64_calls: u64,
    /// Times asked by the SHA-256 of the text.
    texts: BTreeMap<String, u64>,
    /// Times asked by the SHA-256 of the tokens as JSON without blanks.
    token_arrays: BTreeMap<String, u64>,
}

#[derive(Debug, Clone, Serialize)]
struct LastRequest {
    method: String,
    path: String,
    headers: Vec<(String, String)>,
    body_bytes: usize,
    body_sha256: String,
}

/// The counters, shared by all requests.
#[derive(Debug, Default)]
pub(crate) struct Stats(Mutex<Counters>);

impl Stats {
    /// A copy of the counters.
    pub(crate) fn read(&self) -> Counters {
        self.change(|counters| counters.clone())
    }

    /// Sets all to zero but what is in flight.
    pub(crate) fn reset(&self) {
        self.change(|counters| {
            let in_flight = counters.in_flight;
            *counters = Counters {
                in_flight,
                max_in_flight: in_flight,
                ..Counters::default()
            };
        });
    }

    /// Counts a request as in flight until the result is finished or dropped.
    pub(crate) fn enter(self: &Arc<Self>) -> RequestInFlight {
        self.change(|counters| {
            counters.in_flight += 1;
            counters.max_in_flight = counters.max_in_flight.max(counters.in_flight);
        });
        RequestInFlight {
            stats: Arc::clone(self),
            finished: false,
        }
    }

    /// Counts a request.
    pub(crate) fn asked(&self, call: &Call) {
        let last = LastRequest::of(call);
        self.change(|counters| {
            let route = format!("{} {}", call.method, call.path);
            *counters.requests.entry(route).or_default() += 1;
            if let Some(key) = call.key() {
                *counters.keys.entry(digest(key.as_bytes())).or_default() += 1;
            }
            counters.last_request = Some(last);
        });
    }

    /// Counts what an embeddings request asks for.
    pub(crate) fn embeddings(&self, request: &EmbeddingsRequest) {
        self.change(|counters| counters.embeddings.add(request));
    }

    /// Counts an answer.
    pub(crate) fn answered(&self, status: u16) {
        self.change(|counters| *counters.statuses.entry(status).or_default() += 1);
    }

    fn change<T>(&self, change: impl FnOnce(&mut Counters) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl EmbeddingsCounters {
    fn add(&mut self, request: &EmbeddingsRequest) {
        self.calls += 1;
        self.inputs += request.inputs.len() as u64;
        self.tokens += request.tokens() as u64;
        self.largest_batch = self.largest_batch.max(request.inputs.len());
        match request.encoding {
            Encoding::Float => self.float_calls += 1,
            Encoding::Base64 => self.base64_calls += 1,
        }
        for input in &request.inputs {
            let seen = match input {
                Input::Text(_) => &mut self.texts,
                Input::Tokens(_) => &mut self.token_arrays,
            };
            *seen
                .entry(digest(input.canonical().as_bytes()))
                .or_default() += 1;
        }
    }
}

impl LastRequest {
    fn of(call: &Call) -> Self {
        let headers = call.headers.iter().map(|(name, value)| {
            let told = match SECRET_HEADERS.contains(&name.as_str()) {
                true => format!("sha256:{}", digest(value.as_bytes())),
                false => String::from_utf8_lossy(value.as_bytes()).into_owned(),
            };
            (name.to_string(), told)
        });
        Self {
            method: call.method.to_string(),
            path: call.path.clone(),
            headers: headers.collect(),
            body_bytes: call.body.len(),
            body_sha256: digest(&call.body),
        }
    }
}

/// A request in flight. Dropped before it is finished, it was a hang-up.
#[derive(Debug)]
pub(crate) struct RequestInFlight {
    stats: Arc<Stats>,
    finished: bool,
}

impl RequestInFlight {
    /// The last byte was handed over.
    pub(crate) fn finish(&mut self) {
        self.finished = true;
    }
}

impl Drop for RequestInFlight {
    fn drop(&mut self) {
        self.stats.change(|counters| {
            // `reset` may have zeroed the count in between.
            counters.in_flight = counters.in_flight.saturating_sub(1);
            counters.hang_ups += u64::from(!self.finished);
        });
    }
}
