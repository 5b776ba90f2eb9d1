//! An answer before it is sent: whole, or event by event, and perhaps broken off.

use std::io;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use futures_util::stream;
use serde_json::Value;

use crate::refusal::Refusal;
use crate::stats::RequestInFlight;

/// Media type of everything that is not a stream of events.
pub(crate) const JSON: &str = "application/json";
/// Media type of server-sent events.
pub(crate) const EVENTS: &str = "text/event-stream; charset=utf-8";

/// Status, content, and what the headers tell of it.
#[derive(Debug)]
pub(crate) struct Answer {
    /// The HTTP status.
    pub(crate) status: u16,
    /// The media type.
    pub(crate) media_type: &'static str,
    /// The pieces, each sent on its own.
    pub(crate) pieces: Vec<Bytes>,
    /// The `openai-model` header.
    pub(crate) model: Option<String>,
    /// What is taken from the token budget in the `x-ratelimit-*` headers.
    pub(crate) tokens: usize,
    /// The `retry-after` header, and `retry-after-ms`.
    pub(crate) retry_after: Option<Duration>,
}

impl Answer {
    /// A whole JSON answer.
    pub(crate) fn json(body: String) -> Self {
        Self {
            status: 200,
            media_type: JSON,
            pieces: vec![Bytes::from(body)],
            model: None,
            tokens: 0,
            retry_after: None,
        }
    }

    /// Server-sent events, closed by `[DONE]`.
    pub(crate) fn events(events: &[Value]) -> Self {
        let data = events
            .iter()
            .map(Value::to_string)
            .chain(["[DONE]".to_owned()]);
        let pieces = data
            .map(|data| Bytes::from(format!("data: {data}\n\n")))
            .collect();
        Self {
            media_type: EVENTS,
            pieces,
            ..Self::json(String::new())
        }
    }

    /// The same answer by that model, for so many tokens.
    pub(crate) fn by(self, model: &str, tokens: usize) -> Self {
        Self {
            model: Some(model.to_owned()),
            tokens,
            ..self
        }
    }

    /// Length in bytes, where it is known before the first one.
    pub(crate) fn length(&self) -> Option<usize> {
        (self.media_type != EVENTS).then(|| self.pieces.iter().map(Bytes::len).sum())
    }
}

impl From<Refusal> for Answer {
    fn from(refusal: Refusal) -> Self {
        Self {
            status: refusal.status,
            retry_after: refusal.retry_after,
            ..Self::json(refusal.envelope().to_string())
        }
    }
}

/// How the pieces are sent.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    /// Wait before the first piece, after the headers.
    pub(crate) first: Duration,
    /// Wait before every other piece.
    pub(crate) between: Duration,
    /// Close the connection after half of the bytes.
    pub(crate) drop_connection: bool,
}

/// Sleeps. A sleep of no time would take the timer's whole millisecond.
pub(crate) async fn pause(wait: Duration) {
    if !wait.is_zero() {
        tokio::time::sleep(wait).await;
    }
}

/// The body that sends `pieces`; `in_flight` ends with its last byte, or as a hang-up.
pub(crate) fn body(mut pieces: Vec<Bytes>, pace: Pace, in_flight: RequestInFlight) -> Body {
    if pace.drop_connection {
        halve(&mut pieces);
    }
    let state = (pieces.into_iter(), pace.first, in_flight);
    Body::from_stream(stream::unfold(
        state,
        move |(mut pieces, wait, mut in_flight)| async move {
            pause(wait).await;
            let piece = pieces.next();
            let last = pieces.len() == 0;
            if last {
                // Not later: a body of known length is never asked for its end.
                in_flight.finish();
            }
            match piece {
                Some(piece) => {
                    let wait = if last { Duration::ZERO } else { pace.between };
                    Some((Ok(piece), (pieces, wait, in_flight)))
                }
                None => {
                    let dropped = io::Error::other("told to drop the connection");
                    let state = (pieces, Duration::ZERO, in_flight);
                    pace.drop_connection.then_some((Err(dropped), state))
                }
            }
        },
    ))
}

/// No body at all.
pub(crate) fn nothing() -> Body {
    Body::empty()
}

/// Keeps the first half of the bytes.
fn halve(pieces: &mut Vec<Bytes>) {
    let mut left = pieces.iter().map(Bytes::len).sum::<usize>() / 2;
    for piece in pieces.iter_mut() {
        piece.truncate(left);
        left -= piece.len();
    }
    pieces.retain(|piece| !piece.is_empty());
}
