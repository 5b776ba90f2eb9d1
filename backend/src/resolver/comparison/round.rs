//! One comparison of the upstreams of one model.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::join_all;
use http::HeaderMap;
use tokio::time::timeout;

use super::judge::judge;
use crate::config::ComparisonRule;
use crate::embeddings::answer;
use crate::embeddings::entry::Entry;
use crate::embeddings::key::{Key, KeyBuilder, KeyScope};
use crate::embeddings::request::{EmbeddingRequest, Input, InputKind};
use crate::embeddings::response;
use crate::http::byte_budget::Reservation;
use crate::resolver::Resolver;
use crate::upstream::{AnswerBudget, CallContent, Group, Member, Trust};

/// What the upstreams embed: short, and of several kinds.
const TEXTS: [&str; 4] = [
    "\"The quick brown fox jumps over the lazy dog.\"",
    "\"fn main() { println!(\\\"hello\\\"); }\"",
    "\"Ein Vektor ist eine Richtung mit einer L\\u00e4nge.\"",
    "\"1, 1, 2, 3, 5, 8, 13, 21, 34\"",
];

/// No caller has this scope.
const SCOPE: &str = "comparison";

/// The vectors of one upstream.
struct ComparedVectors {
    /// The model's name as it was answered.
    model: Arc<str>,
    entries: Vec<Entry>,
}

/// One model, and the upstreams that are to give the same vectors for it.
pub(super) struct Comparison<'a> {
    resolver: &'a Resolver,
    model: &'a Arc<str>,
    group: &'a Group,
    request: EmbeddingRequest,
    keys: Vec<Key>,
}

impl<'a> Comparison<'a> {
    pub(super) fn new(
        resolver: &'a Resolver,
        namespace: &Arc<str>,
        model: &'a Arc<str>,
        group: &'a Group,
    ) -> Self {
        let request = request_of(model);
        Self {
            keys: keys_of(&request, namespace, group),
            resolver,
            model,
            group,
            request,
        }
    }

    /// Enters the generation that any gateway has pinned.
    pub(super) async fn follow(&self) {
        if let Ok(Some(pinned)) = self.resolver.cache.pinned(&self.keys).await {
            self.enter(generation(&pinned));
        }
    }

    fn enter(&self, generation: u32) {
        if generation != self.group.generation() {
            tracing::warn!(model = %self.model, generation, "the cache has another generation");
            self.group.enter(generation);
        }
    }

    /// Compares once. Returns whether every upstream answered.
    pub(super) async fn compare(&self, rule: ComparisonRule) -> bool {
        let cache = &self.resolver.cache;
        let pinned = match cache.pinned(&self.keys).await {
            Ok(pinned) => pinned,
            Err(error) => {
                tracing::warn!(model = %self.model, %error, "pinned vectors cannot be read");
                return false;
            }
        };
        let answers = join_all(self.group.members().map(|member| self.ask(member))).await;
        let entries: Vec<_> = answers
            .iter()
            .map(|answer| Some(answer.as_ref()?.entries.as_slice()))
            .collect();
        let judged = judge(pinned.as_deref(), &entries);
        let before = pinned.as_deref().map_or(0, generation);
        let starts = judged.has_drifted && rule.drift_starts_generation;
        self.tell_drift(judged.has_drifted, judged.similarity);
        let (pins, next) = match starts {
            true => (Some(0), before.saturating_add(1)),
            false => (judged.pins, before),
        };
        let measure = match pins.and_then(|place| entries.get(place).copied().flatten()) {
            Some(new) if !self.pin(new, next).await => return false,
            Some(new) => Some(new),
            None => judged
                .measure
                .and_then(|place| entries[place])
                .or(pinned.as_deref()),
        };
        self.enter(next);
        let named = measure.and_then(|entries| Some(Arc::clone(&entries.first()?.model)));
        for ((member, same), answer) in self.group.members().zip(&judged.same).zip(&answers) {
            if let (Some(same), Some(answer), Some(named)) = (same, answer, &named) {
                self.trust(member, *same, answer, named);
            }
        }
        answers.iter().all(Option::is_some)
    }

    async fn pin(&self, entries: &[Entry], generation: u32) -> bool {
        let numbered = |entry: &Entry| Entry {
            tokens: generation,
            ..entry.clone()
        };
        let entries: Vec<_> = entries.iter().map(numbered).collect();
        let pinned = self.resolver.cache.pin(&self.keys, &entries).await;
        if let Err(error) = &pinned {
            tracing::warn!(model = %self.model, %error, "vectors cannot be pinned");
        }
        pinned.is_ok()
    }

    fn tell_drift(&self, has_drifted: bool, similarity: Option<f64>) {
        let Some(similarity) = similarity else { return };
        self.resolver
            .metrics
            .comparisons
            .set_drifted(self.model, has_drifted);
        if has_drifted {
            tracing::error!(
                model = %self.model,
                similarity,
                "the model has drifted: its vectors are not those that it gave before"
            );
        }
    }

    fn trust(&self, member: &Member, same: bool, answer: &ComparedVectors, named: &Arc<str>) {
        let trust = match same {
            true => Trust::Same(Arc::clone(&answer.model), Arc::clone(named)),
            false => Trust::Different,
        };
        let upstream = member.upstream.name();
        self.resolver
            .metrics
            .comparisons
            .set_differing(self.model, upstream, !same);
        if !member.set_trust(trust) {
            return;
        }
        match same {
            true => {
                tracing::info!(model = %self.model, %upstream, "the upstream gives the same vectors")
            }
            false => tracing::error!(
                model = %self.model,
                %upstream,
                "the upstream gives other vectors: it serves this model no more"
            ),
        }
    }

    /// The vectors of one upstream, if it answers all of them well.
    async fn ask(&self, member: &Member) -> Option<ComparedVectors> {
        let (request, inputs) = (&self.request, &self.request.inputs);
        let model = member.model(self.model);
        let question = CallContent {
            model,
            encoding: None,
            body: |encoding| Bytes::from(response::write_call(request, model, inputs, encoding)),
        };
        let room = AnswerBudget::new(inputs.len(), Reservation::default());
        let upstream = &member.upstream;
        let headers = HeaderMap::new();
        let asking = upstream.embeddings(None, &headers, &question, &room);
        let (_, body) = timeout(upstream.failover_after(inputs.len()), asking)
            .await
            .ok()?
            .ok()?;
        let question = answer::ExpectedAnswer {
            inputs,
            model: self.model,
            dimensions: None,
            asked_ms: self.resolver.cache.now_ms(),
        };
        let mut answer = answer::check(&body, &question).ok()?;
        let model = Arc::clone(&answer.entries.first()?.as_ref()?.model);
        let billed = answer.billed_tokens;
        self.resolver
            .metrics
            .models
            .count_billed(self.model, billed);
        member.translate_own(&mut answer, self.model);
        let entries: Option<Vec<Entry>> = answer.entries.into_iter().collect();
        entries.map(|entries| ComparedVectors { model, entries })
    }
}

/// The keys of the vectors that are pinned for a model.
pub fn pins(namespace: &Arc<str>, model: &Arc<str>, group: &Group) -> Vec<Key> {
    keys_of(&request_of(model), namespace, group)
}

fn request_of(model: &Arc<str>) -> EmbeddingRequest {
    let input = |text: &&'static str| Input {
        raw: Bytes::from_static(text.as_bytes()),
        kind: InputKind::Text,
    };
    EmbeddingRequest {
        model: Arc::clone(model),
        dimensions: None,
        encoding: None,
        unkeyed: String::new(),
        inputs: TEXTS.iter().map(input).collect(),
        extra: String::new(),
    }
}

fn keys_of(request: &EmbeddingRequest, namespace: &Arc<str>, group: &Group) -> Vec<Key> {
    let scope = KeyScope {
        namespace: Arc::clone(namespace),
        upstream: Arc::clone(group.base()),
        scope: SCOPE.into(),
    };
    let keys = KeyBuilder::new(&scope, request);
    request.inputs.iter().map(|input| keys.key(input)).collect()
}

/// Which generation pinned vectors are of: an object has a number of tokens, and they cost none.
pub fn generation(pinned: &[Entry]) -> u32 {
    pinned.first().map_or(0, |entry| entry.tokens)
}
