//! The comparison with the upstream's own shorter vector.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use super::Deriving;
use crate::cache::in_flight::Claim;
use crate::embeddings::entry::Entry;
use crate::gateway::derivations::Way;
use crate::http::error::Error;
use crate::resolver::EmbeddingLookup;

/// How long a request waits for its self-test. The calls go on without it.
const PATIENCE: Duration = Duration::from_secs(10);

/// Vectors of one or two numbers are alike by chance.
const LEAST_TESTED: usize = 3;

impl Deriving {
    /// Makes a self-test, or waits for another request's. Returns whether it is of use to look
    /// what is known now.
    pub(super) async fn test(&mut self) -> bool {
        let app = Arc::clone(&self.app);
        let set = self.derivation.set;
        let payer = self.lookup.caller.payer;
        let leader = match app.derivations.tests.claim(set, payer, true) {
            Claim::Leader(leader) => leader,
            Claim::Waiter(waiter) => {
                let _ended = waiter.outcome().await;
                return true;
            }
        };
        // An earlier leader may have ended since the request looked.
        let dimensions = self.derivation.dimensions as usize;
        let tested = match app.derivations.way(&set, dimensions) {
            Way::Test => timeout(PATIENCE, self.ask_both()).await,
            Way::Derive(_) | Way::Ordinary => Ok(Ok(())),
        };
        let result = tested.unwrap_or(Err(Error::UpstreamTimeout));
        let is_of_use = self.settle(result);
        leader.complete(());
        is_of_use
    }

    fn settle(&self, tested: Result<(), Error>) -> bool {
        let asked = &self.lookup.request.model;
        match tested {
            Ok(()) => true,
            // A caller without a right key must not keep the others from testing.
            Err(Error::Refused(refusal)) if refusal.is_of_credential() => false,
            Err(error) => {
                let model = &**asked;
                tracing::warn!(model, %error, "shorter vectors could not be compared");
                self.app.derivations.pause(&self.derivation.set, asked);
                false
            }
        }
    }

    /// Asks for both vectors of the first input, through the tiers, and compares them.
    async fn ask_both(&mut self) -> Result<(), Error> {
        let Some(full) = self.ask(self.of_first_input()).await? else {
            return Ok(());
        };
        let set = self.derivation.set;
        let asked = Arc::clone(&self.lookup.request.model);
        let length = full.dimensions();
        let derivations = &self.app.derivations;
        derivations.see(&set, &asked, &full.model, Some(length));
        let wanted = self.derivation.dimensions as usize;
        if wanted >= length {
            return Ok(());
        }
        let tested = wanted.max(LEAST_TESTED.min(length - 1));
        let shorter = self.of_first_input();
        let shorter = shorter.of_length(u32::try_from(tested).ok());
        let own = self.ask(shorter).await?;
        let own = own.filter(|own| own.model == full.model);
        let found = own.zip(full.vector.shortened(tested));
        let found = found.and_then(|(own, derived)| derived.compare(&own.vector));
        let derivations = &self.app.derivations;
        match found {
            Some(found) => derivations.judge(&set, &asked, &full, found),
            None => derivations.pause(&set, &asked),
        }
        Ok(())
    }

    async fn ask(&mut self, first: EmbeddingLookup) -> Result<Option<Arc<Entry>>, Error> {
        let resolved = self.app.resolver.resolve(first).await?;
        let entry = resolved.entries.first().map(Arc::clone);
        self.spend(resolved);
        Ok(entry)
    }

    fn of_first_input(&self) -> EmbeddingLookup {
        let mut first = self.lookup.clone();
        first.distinct.truncate(1);
        EmbeddingLookup {
            read: true,
            write: true,
            only_if_cached: false,
            ..first
        }
    }
}
