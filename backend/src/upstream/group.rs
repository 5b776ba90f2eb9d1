//! The upstreams that give the same vectors for a model. Only these share keys.

use std::sync::Arc;
use std::time::Duration;

use super::call_limits::{LearntLimits, Size};
use super::client::Client;
use super::over_limit::OverLimit;
use crate::embeddings::answer::Answer;

/// The upstreams of a model, or of all models that have no upstreams of their own.
#[derive(Debug)]
pub struct Group {
    identity: Arc<str>,
    first: Member,
    others: Vec<Member>,
    limits: LearntLimits,
}

/// An upstream, as one model's.
#[derive(Debug)]
pub struct Member {
    /// The upstream.
    pub upstream: Arc<Client>,
    /// Its own name for the model, if that is not the clients'.
    pub own: Option<Arc<str>>,
}

impl Group {
    /// A group whose upstreams stand in the order in which they are asked.
    pub(super) fn new(identity: Arc<str>, first: Member, others: Vec<Member>) -> Self {
        let limits = others.iter().fold(first.upstream.limits, |least, member| {
            least.least(member.upstream.limits)
        });
        Self {
            identity,
            first,
            others,
            limits: LearntLimits::new(limits),
        }
    }

    /// Whether another group is of the same upstreams, for the same keys.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.identity == other.identity && self.members().eq(other.members())
    }

    /// The upstream's part of every key.
    pub fn identity(&self) -> &Arc<str> {
        &self.identity
    }

    /// The upstream that is asked first.
    pub fn first(&self) -> &Member {
        &self.first
    }

    /// All upstreams, in order.
    pub fn members(&self) -> impl Iterator<Item = &Member> {
        std::iter::once(&self.first).chain(&self.others)
    }

    /// How long a client waits for a call of so many inputs.
    pub fn patience(&self, inputs: usize) -> Duration {
        let patience = self
            .members()
            .map(|member| member.upstream.patience(inputs));
        patience.max().unwrap_or_default()
    }

    /// Divides inputs into calls that every one of the upstreams takes, as far as is known: how
    /// many of them, in order, each call takes.
    pub fn divide(&self, model: &str, inputs: impl IntoIterator<Item = Size>) -> Vec<usize> {
        self.limits.divide(model, inputs)
    }

    /// The tokens that inputs have, by an estimate.
    pub fn tokens(&self, model: &str, size: Size) -> usize {
        self.limits.tokens(model, size)
    }

    /// Notes what the inputs of an answered call cost.
    pub fn note_answer(&self, model: &Arc<str>, size: Size, tokens: u64) {
        self.limits.answered(model, size, tokens);
    }

    /// Notes that an upstream refused a call and took all its inputs in several, for `tokens`.
    pub fn note_division(&self, model: &Arc<str>, over: OverLimit, size: Size, tokens: u64) {
        self.limits.refused(model, over, size, tokens);
    }
}

impl Member {
    /// What the upstream calls the model.
    pub fn model<'a>(&'a self, model: &'a Arc<str>) -> &'a Arc<str> {
        self.own.as_ref().unwrap_or(model)
    }

    /// Gives the vectors the clients' name of the model where the upstream answers its own: only
    /// that tells nothing new. Any other name that it answers stays, for it may be another model.
    pub fn translate(&self, answer: &mut Answer, model: &Arc<str>) {
        let Some(own) = &self.own else {
            return;
        };
        for entry in answer.entries.iter_mut().flatten() {
            if entry.model == *own {
                entry.model = Arc::clone(model);
            }
        }
    }
}

impl PartialEq for Member {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.upstream, &other.upstream) && self.own == other.own
    }
}
