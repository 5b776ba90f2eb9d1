//! `DERIVE_DIMENSIONS`: vectors of fewer dimensions, made of full ones.
//!
//! What is looked up, coalesced, paid for, kept and purged is the full vector, under the key of a
//! request without `dimensions`. It is shortened for each answer. A self-test compares with the
//! upstream's own shorter vector first; requests that arrive meanwhile wait for it. Wherever
//! something is in doubt, a request is answered as if its model were not listed.

mod self_test;

use std::sync::Arc;

use tokio::task::spawn_blocking;

use crate::embeddings::entry::Entry;
use crate::embeddings::key::{Key, KeyScope};
use crate::embeddings::request::EmbeddingRequest;
use crate::gateway::app::App;
use crate::gateway::derivations::{Full, Way};
use crate::http::error::Error;
use crate::http::headers::Directives;
use crate::resolver::{CallNotes, EmbeddingLookup, Resolved};

/// How often a request begins anew: after a self-test, and if the model has changed meanwhile.
const ROUNDS: usize = 3;

/// So many vectors take a fraction of a millisecond.
const FEW: usize = 128;

/// A request for shorter vectors of a listed model.
pub(super) struct Derivation {
    set: Key,
    dimensions: u32,
    way: Way,
}

/// The vectors of an answer.
pub(super) struct Found {
    pub(super) resolved: Resolved,
    /// Whether they were made of longer ones.
    pub(super) is_derived: bool,
}

/// A derivation under way.
struct Deriving {
    app: Arc<App>,
    /// Of the full vectors, unless the way is the ordinary one.
    lookup: EmbeddingLookup,
    derivation: Derivation,
    /// Whether the request may read from tiers.
    reads: bool,
    earlier: Earlier,
}

/// What was paid for already that is not the answer.
#[derive(Default)]
struct Earlier {
    call: CallNotes,
    /// For how many of the inputs.
    paid: usize,
}

impl Found {
    pub(super) fn as_it_is(resolved: Resolved) -> Self {
        Self {
            resolved,
            is_derived: false,
        }
    }
}

impl Derivation {
    /// Whether vectors may be derived for this request. If so, full ones are asked for from here on.
    pub(super) fn of(
        app: &App,
        scope: &KeyScope,
        request: &mut EmbeddingRequest,
        directives: Directives,
    ) -> Option<Self> {
        let dimensions = request.dimensions?;
        // Who wants nothing kept gets what the upstream says, and is no occasion for a self-test.
        if directives.no_store || !app.derivations.lists(&request.model) {
            return None;
        }
        request.dimensions = None;
        let set = app.derivations.set(scope, request);
        let way = match app.derivations.way(&set, dimensions as usize) {
            Way::Test if directives.only_if_cached => Way::Ordinary,
            way => way,
        };
        if way == Way::Ordinary {
            request.dimensions = Some(dimensions);
        }
        Some(Self {
            set,
            dimensions,
            way,
        })
    }

    /// Resolves a look-up of full vectors, or of the shorter ones where the way is ordinary.
    pub(super) fn resolve(
        self,
        app: &Arc<App>,
        lookup: EmbeddingLookup,
    ) -> impl Future<Output = Result<Found, Error>> + Send + use<> {
        let deriving = Deriving {
            app: Arc::clone(app),
            reads: lookup.read,
            lookup,
            derivation: self,
            earlier: Earlier::default(),
        };
        deriving.resolve()
    }
}

impl Deriving {
    async fn resolve(mut self) -> Result<Found, Error> {
        for _ in 0..ROUNDS {
            match self.derivation.way.clone() {
                Way::Derive(full) => {
                    if let Some(found) = self.derive(&full).await? {
                        return Ok(found);
                    }
                }
                Way::Test if self.test().await => {}
                Way::Test | Way::Ordinary => break,
            }
            let (set, dimensions) = (&self.derivation.set, self.derivation.dimensions);
            let way = self.app.derivations.way(set, dimensions as usize);
            self.derivation.way = match way {
                // Nothing has changed, and yet these cannot be shortened.
                Way::Derive(_) if way == self.derivation.way => Way::Ordinary,
                way => way,
            };
        }
        self.ordinary().await
    }

    /// Resolves the full vectors and shortens them, if they are of the kind that was tested.
    async fn derive(&mut self, full: &Full) -> Result<Option<Found>, Error> {
        let resolved = match self.app.resolver.resolve(self.lookup.clone()).await {
            // What was kept before the model was listed may answer.
            Err(Error::NotCached) => return Ok(None),
            resolved => resolved?,
        };
        if resolved.entries.iter().all(|entry| full.holds(entry))
            && let Some(entries) = self.shortened(&resolved.entries).await?
        {
            self.app.metrics.derived.inc_by(entries.len() as u64);
            let earlier = std::mem::take(&mut self.earlier);
            let resolved = earlier.and(Resolved {
                entries,
                ..resolved
            });
            return Ok(Some(Found {
                resolved,
                is_derived: true,
            }));
        }
        self.see(&resolved);
        self.spend(resolved);
        // They were asked for just now.
        self.lookup.read = true;
        Ok(None)
    }

    /// `None` if one of them begins with zeros only.
    async fn shortened(&self, full: &[Arc<Entry>]) -> Result<Option<Vec<Arc<Entry>>>, Error> {
        let dimensions = self.derivation.dimensions as usize;
        let bytes = dimensions * size_of::<f32>() * full.len();
        self.lookup.context.reserve(bytes)?;
        if full.len() <= FEW {
            return Ok(shorten(full, dimensions));
        }
        let full = full.to_vec();
        let shortened = spawn_blocking(move || shorten(&full, dimensions));
        shortened.await.map_err(|_| Error::Internal)
    }

    /// Answers as if the model were not listed.
    async fn ordinary(self) -> Result<Found, Error> {
        let Derivation {
            set, dimensions, ..
        } = self.derivation;
        let lookup = match self.lookup.request.dimensions {
            Some(_) => self.lookup,
            None => self.lookup.of_length(Some(dimensions)),
        };
        let lookup = EmbeddingLookup {
            read: self.reads,
            ..lookup
        };
        let asked = Arc::clone(&lookup.request.model);
        let resolved = self.app.resolver.resolve(lookup).await?;
        if let Some(entry) = resolved.entries.first() {
            let derivations = &self.app.derivations;
            derivations.see(&set, &asked, &entry.model, None);
        }
        Ok(Found::as_it_is(self.earlier.and(resolved)))
    }

    /// Notes how the model answers, by full vectors.
    fn see(&self, resolved: &Resolved) {
        if let Some(entry) = resolved.entries.first() {
            let (set, asked) = (&self.derivation.set, &self.lookup.request.model);
            let length = Some(entry.dimensions());
            let derivations = &self.app.derivations;
            derivations.see(set, asked, &entry.model, length);
        }
    }

    /// Notes what vectors have cost that are not this answer's.
    fn spend(&mut self, resolved: Resolved) {
        if let Some(scope) = &resolved.call.scope {
            self.lookup.enter(scope);
        }
        self.earlier.paid = self.earlier.paid.max(resolved.tally.miss);
        self.earlier.call.add(resolved.call);
    }
}

impl Earlier {
    /// The answer's vectors with all that the request has cost. Inputs that it has paid for are no
    /// hits.
    fn and(mut self, mut last: Resolved) -> Resolved {
        let paid = self.paid.min(last.tally.memory);
        last.tally.memory -= paid;
        last.tally.miss += paid;
        self.call.add(last.call);
        Resolved {
            call: self.call,
            ..last
        }
    }
}

fn shorten(full: &[Arc<Entry>], dimensions: usize) -> Option<Vec<Arc<Entry>>> {
    let shortened = full.iter().map(|entry| entry.shortened(dimensions));
    shortened.map(|entry| entry.map(Arc::new)).collect()
}
