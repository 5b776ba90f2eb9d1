//! Reads the body of a request, within limits of size, memory and time.

use std::sync::Arc;
use std::time::Duration;

use axum::BoxError;
use bytes::Bytes;
use futures_util::future::{Either, poll_immediate};
use futures_util::{FutureExt, TryFutureExt};
use http::header::{EXPECT, HeaderMap};
use http_body_util::BodyExt;
use tokio::time::timeout;

use crate::gateway::app::App;
use crate::http::byte_budget::Reservation;
use crate::http::collect::{CollectError, collect};
use crate::http::error::Error;
use crate::http::headers;
use crate::resolver::permits::RequestHold;
use crate::resolver::request_context::RequestContext;

/// Drains bodies up to this many times the limit, so that the client can read the 413: most
/// clients look for an answer only when they have sent all.
const DRAINED: u64 = 4;

/// Receives the whole body, within the limits of size, memory and time.
pub(super) fn receive<B>(
    app: &App,
    headers: &HeaderMap,
    body: B,
    context: &RequestContext,
) -> Result<impl Future<Output = Result<Bytes, Error>> + Send + use<B>, Error>
where
    B: http_body::Body<Data = Bytes, Error: Into<BoxError>> + Send + Unpin + 'static,
{
    let limits = &app.limits;
    let limit = limits.body_bytes.min(app.budget.largest());
    match headers::content_length(headers) {
        Some(announced) if announced > limit as u64 => {
            // A client that sends `Expect: 100-continue` has not sent the body yet.
            if announced > DRAINED.saturating_mul(limit as u64) || headers.contains_key(EXPECT) {
                return Err(Error::BodyTooLarge { limit });
            }
            let drained = timeout(limits.body_timeout, drain(body));
            let refused = drained.map(move |_| Err(Error::BodyTooLarge { limit }));
            Ok(Either::Right(Box::pin(refused)))
        }
        _ => {
            let hold = context.hold.clone();
            let hold = hold.unwrap_or_else(|| Arc::new(RequestHold::new(&app.budget)));
            Ok(Either::Left(within(limits.body_timeout, limit, body, hold)))
        }
    }
}

async fn drain<B>(mut body: B)
where
    B: http_body::Body<Data = Bytes> + Unpin,
{
    while let Some(Ok(_)) = body.frame().await {}
}

/// Bytes that belong to the request until it ends.
struct HeldBytes(Arc<RequestHold>);

impl AsRef<Reservation> for HeldBytes {
    fn as_ref(&self) -> &Reservation {
        self.0.bytes()
    }
}

fn within<B>(
    patience: Duration,
    limit: usize,
    body: B,
    hold: Arc<RequestHold>,
) -> impl Future<Output = Result<Bytes, Error>> + Send + use<B>
where
    B: http_body::Body<Data = Bytes, Error: Into<BoxError>> + Send + Unpin,
{
    let refusal = move |error| match error {
        CollectError::TooLarge => Error::BodyTooLarge { limit },
        CollectError::NoRoom => Error::NoRoom,
        CollectError::Broken(_) => Error::BodyBroken,
    };
    let mut collecting = collect(body, limit, HeldBytes(hold)).map_err(refusal);
    // hyper reads a body once it is polled. Most bodies arrive together with their head: polled
    // here, they are complete at the next poll, without a timer.
    let mut collected = (&mut collecting).now_or_never();
    async move {
        if collected.is_none() {
            collected = poll_immediate(&mut collecting).await;
        }
        match collected {
            Some(collected) => collected,
            // Boxed: a body that arrived carries no room for a timer.
            None => Box::pin(timeout(patience, collecting))
                .await
                .unwrap_or(Err(Error::BodyTimeout)),
        }
    }
}
