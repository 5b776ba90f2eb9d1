//! Reads the answer to an embeddings call, within a bound and the budget of all requests.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderValue};
use http::{Response, StatusCode};
use serde_json::json;

use crate::http::byte_budget::Reservation;
use crate::http::codings;
use crate::http::collect::{CollectError, collect};
use crate::http::error::{self, Error, UpstreamRefusal};
use crate::http::headers;

/// Bound on an embeddings answer: 2,048 vectors of 4,096 numbers, each written out in full.
const MAX_ANSWER_BYTES: usize = 256 << 20;

/// Bound on an answer for each of its inputs: 10,000 numbers, each written out in full.
const MAX_INPUT_ANSWER_BYTES: usize = 256 << 10;

/// Bound on the rest of an answer, or on an error.
const MAX_FRAME_BYTES: usize = 1 << 20;

/// A successful answer to an embeddings call, not checked yet.
#[derive(Debug)]
pub struct UncheckedAnswer {
    /// Those of its headers that the client gets.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
    /// What the body takes of the budget of all requests.
    _room: AnswerBudget,
}

/// What an embeddings answer may take.
#[derive(Debug)]
pub struct AnswerBudget {
    inputs: usize,
    reservation: Reservation,
}

impl UncheckedAnswer {
    /// An answer that takes this room.
    pub fn new((headers, body): (HeaderMap, Bytes), room: AnswerBudget) -> Self {
        Self {
            headers,
            body,
            _room: room,
        }
    }
}

impl AnswerBudget {
    /// Room for the vectors of so many inputs, as far as `reservation` finds it.
    pub fn new(inputs: usize, reservation: Reservation) -> Self {
        Self {
            inputs,
            reservation,
        }
    }

    /// The headers that the client gets, and the body, of an answer that may hold vectors.
    pub(super) async fn read(
        &self,
        answer: Response<reqwest::Body>,
    ) -> Result<(HeaderMap, Bytes), Error> {
        let (parts, body) = answer.into_parts();
        let mut headers = headers::for_caller(&parts.headers);
        let status = parts.status;
        if status.is_redirection() {
            return Err(Error::Redirected);
        }
        let body = self.take(body).await?;
        let body = codings::decode(&parts.headers, body, self.limit()).await;
        if let (true, Ok(body)) = (parts.headers.contains_key(CONTENT_ENCODING), &body) {
            self.reservation.count(body.len());
        }
        match status {
            // Any of them may hold vectors; its body shows it.
            status if status.is_success() => {
                Ok((headers, body.map_err(|_| Error::UpstreamBroken)?))
            }
            status if status.is_client_error() || status.is_server_error() => {
                // The client acts on the status, with words or without.
                let body = body.unwrap_or_else(|_| {
                    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
                    unreadable(status)
                });
                Err(Error::Refused(Arc::new(UpstreamRefusal {
                    status,
                    headers,
                    body,
                    inputs: self.inputs,
                })))
            }
            _ => Err(Error::UpstreamBroken),
        }
    }

    /// The inputs of the call.
    pub(super) fn inputs(&self) -> usize {
        self.inputs
    }

    fn limit(&self) -> usize {
        let vectors = MAX_INPUT_ANSWER_BYTES.saturating_mul(self.inputs);
        vectors
            .saturating_add(MAX_FRAME_BYTES)
            .min(MAX_ANSWER_BYTES)
    }

    async fn take(&self, body: reqwest::Body) -> Result<Bytes, Error> {
        let body = collect(body, self.limit(), &self.reservation).await;
        body.map_err(|error| match error {
            CollectError::NoRoom => Error::NoRoom,
            CollectError::Broken(error) if error.is_timeout() => Error::UpstreamTimeout,
            // The answer broke off, or is longer than the bound.
            CollectError::Broken(_) | CollectError::TooLarge => Error::UpstreamBroken,
        })
    }
}

/// Stands for an error's body in a coding that cannot be taken off.
fn unreadable(status: StatusCode) -> Bytes {
    let message = format!("The upstream answered {status} with a body that cannot be decoded.");
    let error = error::object(status, &message, None, error::UPSTREAM_REFUSED.0);
    json!({ "error": error }).to_string().into()
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;
    use crate::http::byte_budget::ByteBudget;

    #[tokio::test]
    async fn what_is_unpacked_takes_of_the_budget_too() {
        let budget = ByteBudget::new(16 << 20);
        let room = AnswerBudget::new(1, budget.reservation());
        let text = vec![b' '; 100_000];
        let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
        packed.write_all(&text).unwrap();
        let body = reqwest::Body::from(packed.finish().unwrap());
        let answer = Response::builder().header(CONTENT_ENCODING, "gzip");
        let (_, body) = room.read(answer.body(body).unwrap()).await.unwrap();
        assert_eq!(body, text);
        assert!(budget.in_use() > text.len());
        drop(room);
        assert_eq!(budget.in_use(), 0);
    }
}
