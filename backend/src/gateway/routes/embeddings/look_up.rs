//! Looks up the vectors of a request, and answers with them.

use std::sync::Arc;

use bytes::Bytes;
use http::HeaderMap;

use super::answer::{ResponsePlan, emptied};
use super::derive::{Derivation, Found};
use super::untouched::OwnRequest;
use super::{Answered, EmbeddingsRequest};
use crate::access::Caller;
use crate::embeddings::batch::Batch;
use crate::embeddings::request::EmbeddingRequest;
use crate::http::error::Error;
use crate::http::headers::Directives;
use crate::resolver::EmbeddingLookup;
use crate::resolver::maybe_future::MaybeFuture;
use crate::resolver::request_context::RequestContext;
use crate::telemetry::{HashVerdict, semantics};

/// The request itself if it is kept, what is looked up, how it is answered, and whether its vectors
/// may be derived.
type Divided = (
    Option<Box<EmbeddingsRequest>>,
    EmbeddingLookup,
    ResponsePlan,
    Option<Derivation>,
);

impl EmbeddingsRequest {
    /// Looks up the vectors, and answers with them.
    pub(super) fn look_up(
        self: Box<Self>,
        request: EmbeddingRequest,
        verdict: HashVerdict,
        body: Bytes,
    ) -> MaybeFuture<Result<Answered, Error>> {
        let inputs = request.inputs.len();
        let app = Arc::clone(&self.app);
        let (own, lookup, plan, derivation) = self.divide(request, verdict);
        let own = own.map(|request| OwnRequest {
            request,
            body,
            inputs,
        });
        let resolved = match derivation {
            None => app
                .resolver
                .resolve(lookup)
                .map(|resolved| resolved.map(Found::as_it_is)),
            Some(derivation) => MaybeFuture::later(derivation.resolve(&app, lookup)),
        };
        resolved.then(move |resolved| match (resolved, own) {
            (Err(Error::Refused(refusal)), Some(own)) if own.is_misplaced(&refusal) => {
                MaybeFuture::later(own.repeat())
            }
            (Err(Error::InputRefused { index, refusal }), own) => {
                let error = match own {
                    Some(_) => plan.refusal(index, refusal),
                    None => Error::Refused(refusal),
                };
                MaybeFuture::now(Err(error))
            }
            (resolved, _) => MaybeFuture::now(resolved.map(|found| plan.answer(&app, found))),
        })
    }

    /// Divides the request into what is looked up and how it is answered. What asks for several
    /// inputs is kept beside: the upstream may see it in parts only.
    fn divide(mut self: Box<Self>, mut request: EmbeddingRequest, verdict: HashVerdict) -> Divided {
        self.context
            .trace
            .describe(|| semantics::embeddings(&request));
        let query = self.parts.uri.query().filter(|query| !query.is_empty());
        let group = self.app.upstreams.group(&request.model);
        let key_scope = self.app.key_scope(&group, &self.caller.scope, query);
        let query = query.map(Into::into);
        let inputs = std::mem::take(&mut request.inputs);
        let is_batch = inputs.len() > 1;
        let directives = Directives::of(&self.parts.headers);
        let derivation = Derivation::of(&self.app, &key_scope, &mut request, directives);
        let keys = self.app.resolver.keys(&key_scope, &request);
        let (family, batch) = (keys.family(), Batch::new(&keys, inputs));
        let may_be_stored = verdict == HashVerdict::Match && !directives.no_store;
        let repeats = batch.repeats();
        let mut plan = self.plan(&request, directives, (batch.places, repeats), may_be_stored);
        if !is_batch {
            plan.headers = emptied(std::mem::take(&mut self.parts.headers));
        }
        let (own, caller, context) = self.kept(is_batch);
        let lookup = EmbeddingLookup {
            request,
            group,
            key_scope,
            family,
            distinct: batch.distinct,
            caller,
            read: !directives.no_cache && !directives.no_store,
            write: !directives.no_store,
            only_if_cached: directives.only_if_cached,
            query,
            context,
        };
        (own, lookup, plan, derivation)
    }

    fn plan(
        &self,
        request: &EmbeddingRequest,
        directives: Directives,
        (places, repeats): (Vec<usize>, usize),
        may_be_stored: bool,
    ) -> ResponsePlan {
        ResponsePlan {
            model: Arc::clone(&request.model),
            encoding: request.encoding.unwrap_or_default(),
            directives,
            repeats,
            places,
            own: Arc::clone(&self.caller.own),
            last_purge: self.app.resolver.cache().purges().latest(),
            scope: Arc::clone(&self.caller.scope),
            may_be_stored,
            headers: HeaderMap::new(),
        }
    }

    /// The caller and the context, and the request itself if it is kept.
    fn kept(self: Box<Self>, is_kept: bool) -> (Option<Box<Self>>, Caller, RequestContext) {
        if !is_kept {
            let Self {
                caller, context, ..
            } = *self;
            return (None, caller, context);
        }
        let (caller, context) = (self.caller.clone(), self.context.clone());
        (Some(self), caller, context)
    }
}
