//! One HTTP/1 request on a connection of its own, bounded in time and size.
//!
//! Not by a pooling client: the path must go out byte for byte, to an address, under a name that is
//! not the address's; and a pooled connection could be stale.

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Empty, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout, timeout_at};

/// Bound on an answer's body. Varnish repeats what it banned, which is at most 16 KiB.
const MAX_ANSWER_BYTES: usize = 64 << 10;

/// Bound on an answer's head.
const MAX_ANSWER_HEAD_BYTES: usize = 32 << 10;

/// Pause before a second attempt: a peer that refuses may be about to listen.
const RETRY_PAUSE: Duration = Duration::from_millis(50);

/// A peer's whole answer.
#[derive(Debug)]
pub(super) struct PeerAnswer {
    pub(super) status: StatusCode,
    pub(super) body: Bytes,
}

/// Why a peer did not confirm the purge. The messages go to clients.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error("no address")]
    Unresolved,
    #[error("connection failed")]
    Connect,
    #[error("timed out")]
    Timeout,
    #[error("answer broken")]
    Broken { status: Option<StatusCode> },
    #[error("answer larger than {MAX_ANSWER_BYTES} bytes")]
    TooLarge { status: StatusCode },
    #[error("answered {0}")]
    Refused(StatusCode),
}

impl PeerAnswer {
    /// Whether the peer confirms the purge.
    pub(super) fn success(self) -> Result<(), Failure> {
        match self.status {
            StatusCode::OK => Ok(()),
            status => Err(Failure::Refused(status)),
        }
    }
}

impl Failure {
    /// The status of the answer, if there was one.
    pub(super) fn status(&self) -> Option<StatusCode> {
        match self {
            Self::TooLarge { status } | Self::Refused(status) => Some(*status),
            Self::Broken { status } => *status,
            Self::Unresolved | Self::Connect | Self::Timeout => None,
        }
    }
}

/// Sends `request` to `address`, and once more after a 503: that is how a sidecar says that the peer
/// takes no connection, or ended one that the sidecar kept. To purge twice does no harm. `limit`
/// bounds it all; the 503 stands if the second attempt has no answer by then.
pub(super) async fn send(
    address: SocketAddr,
    request: Request<Empty<Bytes>>,
    limit: Duration,
) -> Result<PeerAnswer, Failure> {
    let deadline = Instant::now() + limit;
    let first = timeout_at(deadline, attempt(address, request.clone(), limit)).await;
    let first = first.unwrap_or(Err(Failure::Timeout))?;
    if first.status != StatusCode::SERVICE_UNAVAILABLE {
        return Ok(first);
    }
    let second = timeout_at(deadline, async {
        sleep(RETRY_PAUSE).await;
        attempt(address, request, limit).await
    });
    second.await.unwrap_or(Ok(first))
}

/// Connects, in a second attempt if need be, and sends `request`.
async fn attempt(
    address: SocketAddr,
    request: Request<Empty<Bytes>>,
    limit: Duration,
) -> Result<PeerAnswer, Failure> {
    let stream = twice(|| TcpStream::connect(address), limit / 3).await?;
    exchange(stream, request).await
}

/// Connects in up to two attempts, each within `patience`.
async fn twice<T, Connecting>(
    connect: impl Fn() -> Connecting,
    patience: Duration,
) -> Result<T, Failure>
where
    Connecting: Future<Output = io::Result<T>>,
{
    if let Ok(Ok(connected)) = timeout(patience, connect()).await {
        return Ok(connected);
    }
    sleep(RETRY_PAUSE).await;
    match timeout(patience, connect()).await {
        Ok(Ok(connected)) => Ok(connected),
        Ok(Err(error)) => {
            tracing::debug!(%error, "no connection");
            Err(Failure::Connect)
        }
        Err(_) => Err(Failure::Connect),
    }
}

async fn exchange(
    stream: TcpStream,
    request: Request<Empty<Bytes>>,
) -> Result<PeerAnswer, Failure> {
    let (mut sender, connection) = http1::Builder::new()
        .max_buf_size(MAX_ANSWER_HEAD_BYTES)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|error| broken(&error, None))?;
    let mut connection = pin!(connection);
    let mut answer = pin!(async {
        let response = sender.send_request(request).await;
        read(response.map_err(|error| broken(&error, None))?).await
    });
    tokio::select! {
        answer = &mut answer => return answer,
        ended = &mut connection => if let Err(error) = ended {
            tracing::debug!(%error, "a connection broke");
        }
    }
    // The peer may have sent a whole answer before the connection broke.
    answer.await
}

async fn read(response: Response<Incoming>) -> Result<PeerAnswer, Failure> {
    let (parts, body) = response.into_parts();
    let status = parts.status;
    let body = Limited::new(body, MAX_ANSWER_BYTES).collect().await;
    let body = body.map_err(|error| {
        if error.is::<LengthLimitError>() {
            Failure::TooLarge { status }
        } else {
            broken(&*error, Some(status))
        }
    })?;
    let body = body.to_bytes();
    Ok(PeerAnswer { status, body })
}

fn broken(error: &dyn std::error::Error, status: Option<StatusCode>) -> Failure {
    tracing::debug!(%error, "an answer broke off");
    Failure::Broken { status }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(1);

    async fn attempt(number: u32, first_good: u32) -> io::Result<u32> {
        if number < first_good {
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        Ok(number)
    }

    #[tokio::test(start_paused = true)]
    async fn who_refuses_is_asked_once_more_and_no_more() {
        for (first_good, expected, attempts) in [(1, Some(1), 1), (2, Some(2), 2), (3, None, 2)] {
            let number = Cell::new(0);
            let connect = || {
                number.set(number.get() + 1);
                attempt(number.get(), first_good)
            };
            assert_eq!(twice(connect, PATIENCE).await.ok(), expected);
            assert_eq!(number.get(), attempts);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_never_answers_is_given_up_after_two_attempts() {
        let began = tokio::time::Instant::now();
        let ended = twice(std::future::pending::<io::Result<()>>, PATIENCE).await;
        assert!(matches!(ended, Err(Failure::Connect)));
        assert_eq!(began.elapsed(), 2 * PATIENCE + RETRY_PAUSE);
    }
}
