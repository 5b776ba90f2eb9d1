//! The call that proves that the upstream accepts a credential for a model.
//!
//! A credential that has yet to earn its hits earns them by one small input, while its other
//! requests wait; everything else then comes from the tiers. It is renewed before it ends.

use std::sync::Arc;

use sha2::{Digest, Sha256};
use tokio::time::Instant;

use super::coalescing::LeaderInput;
use super::fault::CallFault;
use super::lookup::PartialResult;
use super::outcome::Called;
use super::paced::turn_deadline;
use super::{CallNotes, EmbeddingLookup, Resolver};
use crate::cache::in_flight::{Claim, Leader};
use crate::embeddings::answer::{Answer, Unsound};
use crate::embeddings::entry::Entry;
use crate::embeddings::key::Key;
use crate::http::error::Error;

/// How often a request waits for another one's proof before it gives its own.
const ROUNDS: usize = 2;

/// For so few inputs the store is asked on the word of a credential that has earned nothing: an
/// unknown key is to cost it little.
const FEW: usize = 8;

/// What is known before a request fetches.
#[derive(Debug, Default)]
pub(super) struct Earned {
    /// The call that proved the caller's acceptance, if it needed one.
    pub(super) proof: Option<Proof>,
    /// Whether the store was asked for all inputs, and has none of them.
    pub(super) store_asked: bool,
}

/// The vector of the call that proved an acceptance.
#[derive(Clone, Debug)]
pub(super) struct Proof {
    /// Which of the look-up's inputs it is of.
    pub(super) place: usize,
    entry: Entry,
    is_named: bool,
    scope: Option<Arc<str>>,
}

impl Proof {
    fn of(place: usize, called: Called) -> Result<Self, Error> {
        let fault = called.answer.fault.unwrap_or(Unsound::Unreadable);
        let entry = called.answer.entries.into_iter().next().flatten();
        Ok(Self {
            place,
            entry: entry.ok_or_else(|| Error::Unsound(Arc::new(fault)))?,
            is_named: called.answer.is_named,
            scope: called.scope,
        })
    }

    /// The call again, as far as its vector is concerned: its cost is noted already.
    pub(super) fn called(&self) -> Called {
        Called {
            answer: Answer {
                entries: vec![Some(self.entry.clone())],
                fault: None,
                is_named: self.is_named,
                billed_tokens: 0,
            },
            headers: http::HeaderMap::new(),
            scope: self.scope.clone(),
            stored: Vec::new(),
            repeated: 0,
        }
    }
}

impl Resolver {
    /// Earns the caller's hits, if it has none and there may be something to hit.
    pub(super) async fn prove(
        self: &Arc<Self>,
        lookup: &mut EmbeddingLookup,
        found: &mut PartialResult,
    ) -> Result<Earned, Error> {
        for round in 0.. {
            if self.may_read(lookup) || !lookup.read || lookup.only_if_cached {
                break;
            }
            if !self.may_gain(lookup).await {
                return Ok(Earned {
                    proof: None,
                    store_asked: true,
                });
            }
            let leader = match self.claim_proof(lookup, round) {
                Some(Claim::Waiter(waiter)) => match waiter.outcome().await {
                    Some(Err(fault)) if fault.concerns(&lookup.caller) => return Err(fault.error),
                    _ => continue,
                },
                Some(Claim::Leader(leader)) => Some(leader),
                None => None,
            };
            let proof = self.lead_proof(lookup, found, leader).await?;
            return Ok(Earned {
                proof: Some(proof),
                store_asked: false,
            });
        }
        Ok(Earned::default())
    }

    fn claim_proof(
        &self,
        lookup: &EmbeddingLookup,
        round: usize,
    ) -> Option<Claim<Result<(), CallFault>>> {
        let claim = || {
            let payer = lookup.caller.payer;
            self.proofs.claim(proof_key(lookup), payer, true)
        };
        (round < ROUNDS).then(claim)
    }

    /// Begins to renew the caller's right to hits, if it is about to end. No request waits for it.
    pub(super) fn renew(self: &Arc<Self>, lookup: &EmbeddingLookup) {
        if !lookup.read || !self.access.is_due(&lookup.caller, &lookup.request.model) {
            return;
        }
        let (resolver, lookup) = (Arc::clone(self), lookup.clone());
        let place = smallest(&lookup);
        self.tracker.spawn(async move {
            let _ended = resolver.call_for(&lookup, place).await;
        });
    }

    /// Whether a tier may hold something of this. If not, the request's own call proves as much.
    async fn may_gain(&self, lookup: &EmbeddingLookup) -> bool {
        let (inputs, fresh) = (&lookup.distinct, self.freshness(lookup));
        let mut keys = inputs.iter().map(|(key, _)| key);
        if keys.any(|key| self.cache.get_memory(key, fresh).is_some()) {
            return true;
        }
        // Under another scope, which only an answer names, a tier may hold anything.
        let may_move = !self.access.knows_scope(&lookup.caller);
        if inputs.len() > 1 && (may_move || inputs.len() > FEW && self.cache.has_store()) {
            return true;
        }
        let keys = inputs.iter().map(|(key, _)| *key).collect();
        let found = self.cache.get_store(keys, fresh).await;
        found.iter().any(Option::is_some)
    }

    async fn lead_proof(
        self: &Arc<Self>,
        lookup: &mut EmbeddingLookup,
        found: &mut PartialResult,
        leader: Option<Leader<Result<(), CallFault>>>,
    ) -> Result<Proof, Error> {
        let place = smallest(lookup);
        let (resolver, asked) = (Arc::clone(self), lookup.clone());
        let proof = self.tracker.spawn(async move {
            let (_, waited, called) = resolver.call_for(&asked, place).await;
            let told = match &called {
                Ok(_) => Ok(()),
                Err(error) => Err(CallFault::new(error.clone(), &asked.caller)),
            };
            if let Some(leader) = leader {
                leader.complete(told);
            }
            called.map(|called| (waited, called))
        });
        let (waited, called) = proof.await.map_err(|_| Error::Internal)??;
        if let Some(scope) = &called.scope {
            lookup.enter(scope);
        }
        found.call.add(notes_of(waited, &called));
        Proof::of(place, called)
    }

    async fn call_for(&self, lookup: &EmbeddingLookup, place: usize) -> super::outcome::CallResult {
        let claimed = vec![LeaderInput {
            place,
            leader: None,
        }];
        self.call(lookup, claimed, turn_deadline(lookup)).await
    }
}

fn notes_of((began, until): (Instant, Instant), called: &Called) -> CallNotes {
    let mut call = CallNotes {
        billed_tokens: called.answer.billed_tokens,
        headers: called.headers.clone(),
        scope: called.scope.clone(),
        ..CallNotes::default()
    };
    call.waits.add(began, until);
    call
}

/// The input that costs least.
fn smallest(lookup: &EmbeddingLookup) -> usize {
    let sizes = lookup.distinct.iter().map(|(_, input)| input.raw.len());
    let smallest = sizes.enumerate().min_by_key(|(_, size)| *size);
    smallest.map_or(0, |(place, _)| place)
}

/// One for each credential and model.
fn proof_key(lookup: &EmbeddingLookup) -> Key {
    let mut digest = Sha256::new();
    digest.update(lookup.caller.payer.digits().as_str());
    digest.update(lookup.request.model.as_bytes());
    let digest: [u8; 32] = digest.finalize().into();
    digest.into()
}
