//! Embeddings calls: short, asked once more only where nothing can be charged twice.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Method;
use http::header::{ACCEPT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::Url;
use tokio::time::Instant;

use super::client::{Client, failure};
use super::encodings::is_of_request;
use super::over_limit::OverLimit;
use super::repeat::was_unread;
use super::reply::AnswerBudget;
use crate::embeddings::request::Encoding;
use crate::http::error::Error;

/// Inputs of a call that `UPSTREAM_TIMEOUT` is meant for.
const USUAL_INPUTS: usize = 256;

/// A call goes on for so many times as long as a client waits for it: the upstream charges for it
/// in any case, and the client's next try finds its vectors.
const CALL_GOES_ON: u32 = 4;

/// The path below the base URL.
const EMBEDDINGS: &str = "/embeddings";

/// What an embeddings call asks.
#[expect(missing_debug_implementations, reason = "a function has none")]
pub struct CallContent<'a, W> {
    /// What the upstream calls the model.
    pub model: &'a Arc<str>,
    /// The `encoding_format` that the client asks for.
    pub encoding: Option<Encoding>,
    /// Writes the body of a call in an encoding.
    pub body: W,
}

impl Client {
    /// Asks for embeddings. `credential`, the query and nothing else of the caller goes along.
    ///
    /// If the upstream may have refused only how vectors are to be written, it is asked once more
    /// without a word of that.
    pub async fn embeddings<W: Fn(Option<Encoding>) -> Bytes>(
        &self,
        query: Option<&str>,
        credential: &HeaderMap,
        question: &CallContent<'_, W>,
        room: &AnswerBudget,
    ) -> Result<(HeaderMap, Bytes), Error> {
        let CallContent {
            model,
            encoding: asked,
            body,
        } = question;
        let sent = self.encodings.for_call(model, *asked);
        let call = |body| self.call_embeddings(query, credential, body, room);
        let first = call(body(sent)).await;
        match &first {
            Ok(_) => self.encodings.taken(model, sent),
            Err(Error::Refused(refusal))
                if OverLimit::of(refusal).is_none()
                    && self.encodings.may_be_refused(model, sent, refusal) =>
            {
                let second = call(body(None)).await;
                return match &second {
                    Ok(_) => {
                        self.encodings.refused(model);
                        second
                    }
                    // The client asked just so.
                    Err(Error::Refused(refusal)) if *asked == sent && is_of_request(refusal) => {
                        first
                    }
                    Err(_) => second,
                };
            }
            Err(_) => {}
        }
        first
    }

    async fn call_embeddings(
        &self,
        query: Option<&str>,
        credential: &HeaderMap,
        body: Bytes,
        room: &AnswerBudget,
    ) -> Result<(HeaderMap, Bytes), Error> {
        let url = self.url(EMBEDDINGS, query);
        let time = self.patience(room.inputs()) * CALL_GOES_ON;
        let place = self.short.place();
        let call = || {
            let mut request = reqwest::Request::new(Method::POST, url.clone());
            *request.headers_mut() = credential.clone();
            let headers = request.headers_mut();
            headers.extend(self.headers.clone());
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
            *request.body_mut() = Some(body.clone().into());
            *request.timeout_mut() = Some(time);
            place.http().execute(request)
        };
        let sent = Instant::now();
        let answer = match call().await {
            // What was not sent, or not read, is not charged.
            Err(error) if error.is_connect() || was_unread(&error, sent) => call().await,
            other => other,
        };
        let answer = answer.map_err(|error| failure(&error))?;
        self.short.note(answer.version());
        room.read(answer.into()).await
    }

    /// How long a client waits for a call of so many inputs: in proportion to them beyond
    /// [`USUAL_INPUTS`]. The call itself goes on for longer, so that its answer is kept.
    pub fn patience(&self, inputs: usize) -> Duration {
        self.in_proportion(self.timeout, inputs)
    }

    /// How long a call of so many inputs waits for this upstream while another one could take it.
    pub fn failover_after(&self, inputs: usize) -> Duration {
        self.in_proportion(self.failover_after, inputs)
    }

    fn in_proportion(&self, usual: Duration, inputs: usize) -> Duration {
        let inputs = inputs.min(self.limits.inputs).max(USUAL_INPUTS);
        usual.mul_f64(inputs as f64 / USUAL_INPUTS as f64)
    }

    /// The URL of embeddings calls.
    pub fn embeddings_url(&self) -> Url {
        self.url(EMBEDDINGS, None)
    }
}
