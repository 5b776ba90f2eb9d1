//! The answer with vectors: its body, and its headers for Varnish and the client.

use std::sync::Arc;

use http::Response;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderMap, HeaderValue};

use super::Answered;
use super::derive::Found;
use crate::embeddings::entry::Entry;
use crate::embeddings::request::Encoding;
use crate::embeddings::response::{self, KeptAnswers, Pieces, write_answer};
use crate::gateway::app::App;
use crate::gateway::observed_body::ResponseBody;
use crate::http::error::{Error, NO_STORE, UpstreamRefusal};
use crate::http::headers::{self, Directives};
use crate::http::tags;
use crate::resolver::Resolved;
use crate::telemetry::Outcome;
use crate::telemetry::Tally;
use crate::telemetry::request_record::EmbeddingOutcome;

/// The gateway's name in `Cache-Status`.
const CACHE: &str = "embedding-gateway";
const HIT: HeaderValue = HeaderValue::from_static("embedding-gateway; hit");
const DERIVED_HIT: HeaderValue = HeaderValue::from_static("embedding-gateway; hit; detail=derived");

const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// Headers that the gateway adds to those of the upstream.
const OWN_HEADERS: usize = 5;

/// A map of a request's headers with more room than this is not kept for its answer.
const MOST_ROOM: usize = 64;

/// The parts of a request that decide how its answer is written.
pub(super) struct ResponsePlan {
    pub(super) model: Arc<str>,
    pub(super) encoding: Encoding,
    pub(super) directives: Directives,
    /// For each input, the index of its distinct input.
    pub(super) places: Vec<usize>,
    /// How many inputs repeat another one.
    pub(super) repeats: usize,
    /// The scope of the caller alone.
    pub(super) own: Arc<str>,
    /// The last purge before the request began.
    pub(super) last_purge: u64,
    pub(super) scope: Arc<str>,
    /// Whether the request allows Varnish to store the answer.
    pub(super) may_be_stored: bool,
    /// Becomes the answer's. It is empty.
    pub(super) headers: HeaderMap,
}

/// An empty map for an answer's headers, in the memory of the request's: hyper keeps it for the
/// next request of the connection.
pub(super) fn emptied(mut headers: HeaderMap) -> HeaderMap {
    if headers.capacity() > MOST_ROOM {
        return HeaderMap::new();
    }
    headers.clear();
    headers
}

impl ResponsePlan {
    /// Writes the answer, and counts its outcome.
    pub(super) fn answer(self, app: &App, found: Found) -> Answered {
        let is_derived = found.is_derived;
        let Resolved {
            entries,
            tally,
            call,
        } = found.resolved;
        let outcome = EmbeddingOutcome {
            tally,
            repeats: self.repeats,
            nominal_tokens: response::nominal_tokens(&entries, &self.places),
            billed_tokens: call.billed_tokens,
            waited: call.waits.total(),
        };
        self.count(app, &outcome);
        let scope = call.scope.as_ref().unwrap_or(&self.scope);
        let cache_control = self.cache_control(app, scope, &entries);
        let tags = tags::of_answer(&self.model, scope, &self.own);
        let kept = app.resolver.cache().kept_answers();
        // Derived vectors end with their request, and so would their answers.
        let kept = kept.filter(|_| !is_derived);
        let mut response = Response::new(content(entries, self.places, self.encoding, kept));
        let headers = response.headers_mut();
        *headers = self.headers;
        headers.reserve(OWN_HEADERS);
        if !call.headers.is_empty() {
            headers.extend(call.headers);
        }
        headers.insert(CONTENT_TYPE, JSON);
        headers.insert(CACHE_CONTROL, cache_control);
        let status = status(&tally, call.repeated, self.directives, is_derived);
        headers.append(headers::CACHE_STATUS, status);
        headers.insert(
            headers::X_EMBEDDING_BILLED_TOKENS,
            number(outcome.billed_tokens),
        );
        headers.insert(headers::SURROGATE_KEY, tags);
        (response, Some(outcome))
    }

    /// The refusal of one distinct input, at the client's place for it.
    pub(super) fn refusal(&self, distinct: usize, refusal: Arc<UpstreamRefusal>) -> Error {
        let mut places = self.places.iter();
        Error::InputRefused {
            index: places.position(|&place| place == distinct).unwrap_or(0),
            refusal,
        }
    }

    fn count(&self, app: &App, outcome: &EmbeddingOutcome) {
        let (nominal, billed) = (outcome.nominal_tokens, outcome.billed_tokens);
        let inputs = &app.metrics.inputs;
        let tally = &outcome.tally;
        inputs.add(Outcome::Memory, tally.memory as u64);
        inputs.add(Outcome::Store, tally.store as u64);
        inputs.add(Outcome::Collapsed, tally.collapsed as u64);
        inputs.add(Outcome::Miss, tally.miss as u64);
        inputs.add(Outcome::Repeat, self.repeats as u64);
        app.metrics
            .models
            .count_answer(&self.model, nominal, billed);
    }

    fn cache_control(&self, app: &App, scope: &str, entries: &[Arc<Entry>]) -> HeaderValue {
        // A purge of the caller's own tag leaves shared vectors fresh, but this answer has that
        // tag.
        let purges = app.resolver.cache().purges();
        match self.may_be_stored && !purges.scope_after(&self.own, self.last_purge) {
            true => app.cache_control(&self.model, scope, entries),
            false => NO_STORE,
        }
    }
}

fn content(
    entries: Vec<Arc<Entry>>,
    places: Vec<usize>,
    encoding: Encoding,
    kept: Option<&dyn KeptAnswers>,
) -> ResponseBody {
    match (&entries[..], &places[..], kept) {
        _ if !response::is_written_whole(&entries, &places, encoding) => {
            ResponseBody::Pieces(Box::new(Pieces::new(entries, places, encoding)))
        }
        ([entry], [_], Some(kept)) => ResponseBody::Whole(kept.answer(entry, encoding)),
        _ => ResponseBody::Whole(write_answer(&entries, &places, encoding, kept).into()),
    }
}

/// A number as a header's value, without formatting the most common one.
fn number(number: u64) -> HeaderValue {
    match number {
        0 => HeaderValue::from_static("0"),
        _ => number.into(),
    }
}

/// The gateway's member of `Cache-Status` (RFC 9211).
fn status(tally: &Tally, repeated: u32, directives: Directives, is_derived: bool) -> HeaderValue {
    let hits = tally.hits();
    if tally.miss == 0 && tally.collapsed == 0 {
        return if is_derived { DERIVED_HIT } else { HIT };
    }
    let reason = match hits {
        _ if directives.no_store => "bypass",
        _ if directives.no_cache => "request",
        0 => "miss",
        _ => "partial",
    };
    let mut status = format!("{CACHE}; fwd={reason}");
    if !directives.no_store {
        status += "; stored";
    }
    // All that the tiers did not have came from other requests' calls (RFC 9211, 2.6).
    if tally.miss == 0 {
        status += "; collapsed";
    }
    status += &detail(tally, repeated, is_derived);
    // A valid header value: words and numbers only. The bare name would be a valid member too.
    HeaderValue::try_from(status).unwrap_or(HeaderValue::from_static(CACHE))
}

/// `detail`: whether vectors are derived, and how many are of which kind if there are several.
fn detail(tally: &Tally, repeated: u32, is_derived: bool) -> String {
    let kinds = [tally.hits(), tally.collapsed, tally.miss];
    let [hits, collapsed, misses] = kinds;
    let mut words = Vec::new();
    if is_derived {
        words.push("derived".to_owned());
    }
    if kinds.iter().filter(|&&count| count > 0).count() > 1 {
        words.push(format!("hits={hits} collapsed={collapsed} misses={misses}"));
    }
    // Calls that failed at one upstream, may have been charged, and were made at another.
    if repeated > 0 {
        words.push(format!("repeated={repeated}"));
    }
    match &words[..] {
        [] => String::new(),
        [word] if is_derived => format!("; detail={word}"),
        words => format!("; detail=\"{}\"", words.join(" ")),
    }
}
