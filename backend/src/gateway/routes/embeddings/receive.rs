//! Reads the body of a request, within limits of size and time.

use axum::BoxError;
use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::{Either, poll_immediate};
use http::header::{EXPECT, HeaderMap};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use tokio::time::timeout;

use crate::config::Limits;
use crate::http::error::Error;
use crate::http::headers;

/// Drains bodies up to this many times the limit, so that the client can read the 413: most
/// clients look for an answer only when they have sent all.
const DRAINED: u64 = 4;

/// Receives the whole body, within the limits of size and time.
pub(super) fn receive<B>(
    limits: &Limits,
    headers: &HeaderMap,
    body: B,
) -> Result<impl Future<Output = Result<Bytes, Error>> + Send + use<B>, Error>
where
    B: http_body::Body<Data = Bytes, Error: Into<BoxError>> + Send + Unpin + 'static,
{
    let limit = limits.body_bytes;
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
        _ => Ok(Either::Left(collect(limits, body))),
    }
}

async fn drain<B>(mut body: B)
where
    B: http_body::Body<Data = Bytes> + Unpin,
{
    while let Some(Ok(_)) = body.frame().await {}
}

fn collect<B>(
    limits: &Limits,
    body: B,
) -> impl Future<Output = Result<Bytes, Error>> + Send + use<B>
where
    B: http_body::Body<Data = Bytes, Error: Into<BoxError>> + Send + Unpin,
{
    let (limit, patience) = (limits.body_bytes, limits.body_timeout);
    let mut collecting = Limited::new(body, limit).collect();
    // hyper reads a body once it is polled. Most bodies arrive together with their head: polled
    // here, they are complete at the next poll, without a timer.
    let mut collected = (&mut collecting).now_or_never();
    async move {
        if collected.is_none() {
            collected = poll_immediate(&mut collecting).await;
        }
        let collected = match collected {
            Some(collected) => collected,
            None => timeout(patience, collecting)
                .await
                .map_err(|_| Error::BodyTimeout)?,
        };
        match collected {
            Ok(body) => Ok(body.to_bytes()),
            Err(error) if error.is::<LengthLimitError>() => Err(Error::BodyTooLarge { limit }),
            Err(_) => Err(Error::BodyBroken),
        }
    }
}
