//! The body of a request: how much of it, and for how long, we take.

use axum::BoxError;
use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::poll_immediate;
use http::header::HeaderMap;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use tokio::time::timeout;

use crate::config::Limits;
use crate::error::Error;
use crate::headers;

/// Receives the whole body, within the limits of size and time.
pub(super) fn receive<B>(
    limits: &Limits,
    headers: &HeaderMap,
    body: B,
) -> Result<impl Future<Output = Result<Bytes, Error>> + Send + use<B>, Error>
where
    B: http_body::Body<Data = Bytes, Error: Into<BoxError>> + Send + Unpin,
{
    let (limit, patience) = (limits.body_bytes, limits.body_timeout);
    if headers::content_length(headers).is_some_and(|announced| announced > limit as u64) {
        return Err(Error::BodyTooLarge { limit });
    }
    let mut collecting = Limited::new(body, limit).collect();
    // hyper begins to read a body when somebody asks for it. Most arrive together with their head:
    // who asks before hyper has turned away finds them there at the next look, without a timer.
    let mut collected = (&mut collecting).now_or_never();
    Ok(async move {
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
    })
}
