//! The upstreams that give the same vectors for a model. Only these share keys.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use tower::retry::budget::{Budget, TpsBudget};

use super::call_limits::{LearntLimits, Size};
use super::client::Client;
use super::health::Health;
use super::over_limit::OverLimit;
use super::trust::Trusted;

/// What is saved of repeats ends after this time.
const REPEATS_KEPT: Duration = Duration::from_secs(10);

/// Repeats a second that may be, however few calls there are.
const REPEATS_A_SECOND: u32 = 10;

/// Repeats for each call.
const REPEATS_A_CALL: f32 = 0.2;

/// The upstreams of a model, or of all models that have no upstreams of their own.
#[derive(Debug)]
pub struct Group {
    /// Without a generation.
    base: Arc<str>,
    generation: RwLock<(u32, Arc<str>)>,
    first: Member,
    others: Vec<Member>,
    limits: LearntLimits,
    /// Repeats at another upstream that are left.
    repeats: TpsBudget,
}

/// An upstream, as one model's.
#[derive(Debug)]
pub struct Member {
    /// The upstream.
    pub upstream: Arc<Client>,
    /// Its own name for the model, if that is not the clients'.
    pub own: Option<Arc<str>>,
    pub(super) health: Health,
    pub(super) trusted: Trusted,
}

impl Group {
    /// A group whose upstreams stand in the order in which they are asked.
    pub(super) fn new(identity: Arc<str>, first: Member, others: Vec<Member>) -> Self {
        let limits = others.iter().fold(first.upstream.limits, |least, member| {
            least.least(member.upstream.limits)
        });
        Self {
            generation: RwLock::new((0, Arc::clone(&identity))),
            base: identity,
            first,
            others,
            limits: LearntLimits::new(limits),
            repeats: TpsBudget::new(REPEATS_KEPT, REPEATS_A_SECOND, REPEATS_A_CALL),
        }
    }

    /// Whether there is no other upstream to fall back on.
    pub fn is_single(&self) -> bool {
        self.others.is_empty()
    }

    /// Notes a call, which earns a part of a repeat.
    pub fn begin_call(&self) {
        self.repeats.deposit();
    }

    /// Takes one of the repeats that calls have earned, if one is left.
    pub(super) fn withdraw_repeat(&self) -> bool {
        self.repeats.withdraw()
    }

    /// Whether another group is of the same upstreams, for the same keys.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.base == other.base && self.members().eq(other.members())
    }

    /// The upstream's part of every key.
    pub fn identity(&self) -> Arc<str> {
        let generation = self
            .generation
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&generation.1)
    }

    /// The same, of all generations.
    pub fn base(&self) -> &Arc<str> {
        &self.base
    }

    /// Which generation of the cache the keys are of.
    pub fn generation(&self) -> u32 {
        self.generation
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .0
    }

    /// Enters a generation: what others hold is not seen from then on.
    pub fn enter(&self, generation: u32) {
        let identity = match generation {
            0 => Arc::clone(&self.base),
            // Neither a URL nor a variable nor a name of a model holds this byte.
            number => format!("{}\0\0\0{number}", self.base).into(),
        };
        let mut current = self
            .generation
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        *current = (generation, identity);
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

    /// Whether every one of the upstreams takes so much in a call, as far as is known.
    pub fn fits(&self, model: &str, size: Size) -> bool {
        self.limits.fits(model, size)
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
    pub(super) fn new(upstream: Arc<Client>, own: Option<Arc<str>>) -> Self {
        Self {
            upstream,
            own,
            health: Health::default(),
            trusted: Trusted::default(),
        }
    }

    /// What the upstream calls the model.
    pub fn model<'a>(&'a self, model: &'a Arc<str>) -> &'a Arc<str> {
        self.own.as_ref().unwrap_or(model)
    }
}

impl PartialEq for Member {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.upstream, &other.upstream) && self.own == other.own
    }
}
