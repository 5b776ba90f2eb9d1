//! The whole service: dispatches every request to its route's handler.
//!
//! Requests for vectors take no router: a hit in memory takes some microseconds, and layers that
//! box and move each request would add a good part of them. All other futures are boxed, so that
//! requests for vectors do not carry their sizes.

use std::convert::Infallible;
use std::sync::Arc;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use axum::{BoxError, Router};
use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Either, ready};
use http::{HeaderMap, Method, Request};
use hyper::body::Incoming;
use hyper::service::{Service, service_fn};
use hyper_util::service::TowerToHyperService;

use crate::gateway::app::App;
use crate::gateway::azure;
use crate::gateway::cors::{self, Grant};
use crate::gateway::observed_body::{ObservedBody, ResponseBody};
use crate::gateway::routes::{embeddings, health, page, passthrough, purge};
use crate::gateway::status::ErrorKind;
use crate::http::error::Error;
use crate::http::paths::EMBEDDINGS;
use crate::http::server::{BeyondBound, TwoLengths};
use crate::http::{headers, probes};
use crate::resolver::permits::RequestHold;
use crate::resolver::request_context::RequestContext;
use crate::telemetry::request_record::EmbeddingOutcome;
use crate::telemetry::{Bypass, RequestRecord, Route, Trace};

/// What a request takes, whatever it asks for, beside its headers.
const REQUEST_BYTES: usize = 4096;

/// The service of an application.
#[derive(Debug)]
pub struct Gateway {
    app: Arc<App>,
    /// The routes for the kubelet, Prometheus and browsers. They need no permit, so they answer
    /// also when the gateway is busy, and they leave no record.
    pages: TowerToHyperService<Router>,
}

impl Gateway {
    /// The service of `app`.
    pub fn new(app: Arc<App>) -> Arc<Self> {
        let status = match app.status {
            Some(_) => page::routes(),
            None => Router::new(),
        };
        let pages = health::routes()
            .merge(status)
            .method_not_allowed_fallback(health::only_read)
            .with_state(Arc::clone(&app));
        Arc::new(Self {
            app,
            pages: TowerToHyperService::new(pages),
        })
    }

    /// The service for [`crate::http::server`].
    pub fn into_service(
        self: Arc<Self>,
    ) -> impl Service<
        Request<Incoming>,
        Response = http::Response<ObservedBody>,
        Error = Infallible,
        Future: Send,
    > + Clone
    + Send
    + Sync
    + 'static {
        service_fn(move |request: Request<Incoming>| {
            let answer = match misframed(&request) {
                None => Either::Left(self.answer(request)),
                Some(error) => Either::Right(ready(refused(error))),
            };
            answer.map(Ok)
        })
    }

    /// Answers one request.
    pub fn answer<B>(
        &self,
        mut request: Request<B>,
    ) -> impl Future<Output = http::Response<ObservedBody>> + Send + use<B>
    where
        B: http_body::Body<Data = Bytes, Error: Into<BoxError>> + Send + Unpin + 'static,
    {
        azure::translate(&mut request);
        let cors = self.app.cors.as_ref();
        if let Some(answer) = cors.and_then(|origins| cors::preflight(origins, &request)) {
            return Either::Right(ready(answer.map(ObservedBody::unwatched)).boxed());
        }
        match self.route(&request) {
            Some(route) => Either::Left(self.watch(route, request)),
            None => {
                let answer = self.pages.call(request).map(|answer| {
                    let Ok(answer) = answer;
                    answer.map(ObservedBody::unwatched)
                });
                Either::Right(answer.boxed())
            }
        }
    }

    /// The route of a request; `None` for probes and pages.
    fn route<B>(&self, request: &Request<B>) -> Option<Route> {
        match request.uri().path() {
            _ if purge::is_purge(request.method()) => Some(Route::Purge),
            EMBEDDINGS => Some(Route::Embeddings),
            path if path.starts_with("/v1/") => Some(Route::Passthrough),
            path if probes::PATHS.contains(&path) => None,
            path if self.app.status.is_some() && page::is_of_page(path) => None,
            _ => Some(Route::Other),
        }
    }

    /// Answers a request, and records it to its end.
    fn watch<B>(
        &self,
        route: Route,
        request: Request<B>,
    ) -> impl Future<Output = http::Response<ObservedBody>> + Send + use<B>
    where
        B: http_body::Body<Data = Bytes, Error: Into<BoxError>> + Send + Unpin + 'static,
    {
        let app = Arc::clone(&self.app);
        let is_head = request.method() == Method::HEAD;
        let mut record = RequestRecord::begin(&app.metrics, app.tracer.as_ref(), route, &request);
        let grant = grant(&app, route, request.headers());
        let context = match request.extensions().get::<BeyondBound>() {
            Some(_) if route != Route::Purge => Err(Error::Busy),
            _ => admit(&app, route, request.headers(), record.trace()),
        };
        let hold = context.as_ref().ok();
        let hold = hold.and_then(|context| context.hold.clone());
        dispatch(&app, route, request, context).map(move |(mut answer, outcome)| {
            if let Some(grant) = grant {
                grant.mark(answer.headers_mut());
            }
            if let (Some(status), Some(kind)) = (&app.status, ErrorKind::of(&answer)) {
                status.note(kind);
            }
            if let Some(reason) = answer.extensions().get::<Bypass>() {
                record.bypass(*reason);
            }
            record.answer(answer.status(), outcome);
            answer.map(|content| match is_head {
                // hyper does not poll the body of an answer to HEAD.
                true => ObservedBody::ended(content, record, hold),
                false => ObservedBody::new(content, record, hold),
            })
        })
    }
}

/// What is wrong with a request before anything of it counts.
fn misframed(request: &Request<Incoming>) -> Option<Error> {
    if !headers::names_one_host(request) {
        return Some(Error::InvalidHost);
    }
    let lengths = request.extensions().get::<TwoLengths>();
    lengths.map(|_| Error::TwoLengths)
}

/// What never was a request.
fn refused(error: Error) -> http::Response<ObservedBody> {
    error.into_response().map(ObservedBody::unwatched)
}

/// What CORS grants to the origin of a request to the API.
fn grant(app: &App, route: Route, headers: &HeaderMap) -> Option<Grant> {
    let is_of_api = matches!(route, Route::Embeddings | Route::Passthrough);
    let origins = app.cors.as_ref().filter(|_| is_of_api)?;
    Some(cors::grant(origins, headers))
}

/// Admits a request if its headers fit and the budget has room. Purges need none: they must get
/// through a busy gateway.
fn admit(
    app: &App,
    route: Route,
    headers: &HeaderMap,
    trace: &Trace,
) -> Result<RequestContext, Error> {
    let trace = trace.clone();
    if route == Route::Purge {
        let hold = None;
        return Ok(RequestContext { hold, trace });
    }
    let (size, limit) = (headers::size(headers), app.limits.header_bytes);
    if size > limit {
        return Err(Error::HeadersTooLarge { limit });
    }
    let hold = RequestHold::new(&app.budget);
    hold.bytes().grow(REQUEST_BYTES + size)?;
    let hold = Some(Arc::new(hold));
    Ok(RequestContext { hold, trace })
}

/// Dispatches to the route's handler.
fn dispatch<B>(
    app: &Arc<App>,
    route: Route,
    request: Request<B>,
    context: Result<RequestContext, Error>,
) -> impl Future<Output = (http::Response<ResponseBody>, Option<EmbeddingOutcome>)> + Send + use<B>
where
    B: http_body::Body<Data = Bytes, Error: Into<BoxError>> + Send + Unpin + 'static,
{
    let (parts, body) = request.into_parts();
    let app = Arc::clone(app);
    let answer: BoxFuture<'static, Response> = match (context, route) {
        (Ok(context), Route::Embeddings) => {
            return Either::Left(embeddings::handle(app, parts, body, context));
        }
        (Ok(_), Route::Purge) => Box::pin(async move { purge::handle(&app, &parts).await }),
        (Ok(context), Route::Passthrough | Route::Other) => Box::pin(async move {
            let request = Request::from_parts(parts, Body::new(body));
            passthrough::handle(&app, request, &context).await
        }),
        (Err(error), _) => Box::pin(ready(error.into_response())),
    };
    Either::Right(answer.map(|answer| (answer.map(ResponseBody::Stream), None)))
}
