//! Which `encoding_format` an embeddings call asks for, and what models were found to refuse.
//!
//! Base64 is a third of the size and loses nothing, but some upstreams refuse it, or refuse the
//! field as such, which a client may never have sent.

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::StatusCode;
use quick_cache::sync::Cache;

use crate::config::EncodingRule;
use crate::embeddings::request::Encoding;
use crate::http::error::UpstreamRefusal;

/// Models that are remembered. One that is forgotten costs one more refusal.
const MAX_MODELS: usize = 1024;

/// A model that took an encoding so recently refuses a call for another reason.
const TAKEN_FOR: Duration = Duration::from_secs(60);

/// What an upstream may call the field, in the words of its refusal.
const NAMES: [&[u8]; 2] = [b"encoding", b"base64"];

/// What is known of a model.
#[derive(Clone, Copy, Debug)]
enum EncodingSupport {
    /// It took the encoding, the last time then.
    Takes(Instant),
    /// It refused an encoding and took the same call without one.
    Refuses,
}

/// The manners of all models.
#[derive(Debug)]
pub(super) struct Encodings {
    rule: EncodingRule,
    models: Cache<Arc<str>, EncodingSupport>,
}

impl Encodings {
    pub(super) fn new(rule: EncodingRule) -> Self {
        Self {
            rule,
            models: Cache::new(MAX_MODELS),
        }
    }

    /// What to ask `model` for, if the client asked for `asked`.
    pub(super) fn for_call(&self, model: &str, asked: Option<Encoding>) -> Option<Encoding> {
        let own = match self.rule {
            EncodingRule::AsAsked => return asked,
            EncodingRule::Base64 => Encoding::Base64,
            EncodingRule::Float => Encoding::Float,
        };
        let refuses = matches!(self.models.get(model), Some(EncodingSupport::Refuses));
        (!refuses).then_some(own)
    }

    /// Whether `refusal` of a call with `sent` may be a refusal of its encoding.
    pub(super) fn may_be_refused(
        &self,
        model: &str,
        sent: Option<Encoding>,
        refusal: &UpstreamRefusal,
    ) -> bool {
        if self.rule == EncodingRule::AsAsked || sent.is_none() || !is_of_request(refusal) {
            return false;
        }
        match self.models.get(model) {
            Some(EncodingSupport::Takes(at)) if at.elapsed() < TAKEN_FOR => {
                names_encoding(&refusal.body)
            }
            _ => true,
        }
    }

    /// Notes that `model` took a call with `sent`.
    pub(super) fn taken(&self, model: &Arc<str>, sent: Option<Encoding>) {
        if sent.is_some() {
            let now = EncodingSupport::Takes(Instant::now());
            self.models.insert(Arc::clone(model), now);
        }
    }

    /// Notes that `model` refused an encoding and took the same call without one.
    pub(super) fn refused(&self, model: &Arc<str>) {
        tracing::info!(%model, "the upstream refuses encoding_format: calls go without it");
        self.models
            .insert(Arc::clone(model), EncodingSupport::Refuses);
    }
}

/// Whether the upstream found fault with the request itself.
pub(super) fn is_of_request(refusal: &UpstreamRefusal) -> bool {
    matches!(
        refusal.status,
        StatusCode::BAD_REQUEST | StatusCode::UNPROCESSABLE_ENTITY
    )
}

fn names_encoding(body: &[u8]) -> bool {
    let lower = body.to_ascii_lowercase();
    let has = |name: &&[u8]| lower.windows(name.len()).any(|part| part == *name);
    NAMES.iter().any(has)
}
