//! The way of a request below `/v1/`: read, count, check the key, misbehave if told to, answer.

use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::body::to_bytes;
use axum::extract::{Request, State};
use axum::response::Response;
use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};
use serde_json::{Value, json};

use crate::answer::{self, Answer, Pace};
use crate::faults::Fault;
use crate::keys::{digest, presented};
use crate::rate::Rate;
use crate::refusal::Refusal;
use crate::{Standin, chat, embeddings, headers, models};

/// A request, read to its end.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    /// The body, if it is JSON.
    json: Option<Value>,
}

impl Call {
    async fn read(request: Request) -> Result<Self, axum::Error> {
        let (head, body) = request.into_parts();
        let body = to_bytes(body, usize::MAX).await?;
        Ok(Self {
            method: head.method,
            path: head.uri.path().to_owned(),
            headers: head.headers,
            json: serde_json::from_slice(&body).ok(),
            body,
        })
    }

    /// The key that it presents.
    pub(crate) fn key(&self) -> Option<&str> {
        presented(&self.headers)
    }

    /// The model that it asks for.
    pub(crate) fn model(&self) -> Option<&str> {
        self.json.as_ref()?.get("model")?.as_str()
    }

    /// Whether `text` is its input or one of its inputs.
    pub(crate) fn has_input(&self, text: &str) -> bool {
        match self.json.as_ref().and_then(|body| body.get("input")) {
            Some(Value::Array(items)) => items.iter().any(|item| item == text),
            Some(input) => input == text,
            None => false,
        }
    }

    fn json(&self) -> Result<&Value, Refusal> {
        self.json.as_ref().ok_or_else(Refusal::not_json)
    }
}

/// Answers everything that is not a control route.
pub(crate) async fn serve(State(standin): State<Arc<Standin>>, request: Request) -> Response {
    let started = Instant::now();
    let in_flight = standin.stats.enter();
    let Ok(call) = Call::read(request).await else {
        // The client is gone; the drop counts the hang-up.
        return Response::new(answer::nothing());
    };
    standin.stats.asked(&call);
    let fault = standin.fault(&call);
    // A model computes as it is when it is asked, however long the answer takes.
    let variant = standin.variant_of(&call);
    answer::pause(fault.delay()).await;
    let answered = standin.answer(&call, &fault, &variant);
    let answer = answered.and_then(|answer| standin.rated(answer));
    let mut answer = answer.unwrap_or_else(Answer::from);
    if let Some(body) = fault.body() {
        answer.pieces = vec![body];
    }
    standin.stats.answered(answer.status);

    let mut response = Response::default();
    *response.status_mut() = StatusCode::from_u16(answer.status).unwrap_or_default();
    *response.headers_mut() = headers::of(&answer, call.key(), started.elapsed());
    standin.rate().put_headers(response.headers_mut());
    fault.put_headers(response.headers_mut());
    *response.body_mut() = answer::body(answer.pieces, standin.pace(&fault), in_flight);
    response
}

impl Standin {
    /// The fault that strikes the call, or one that does nothing.
    fn fault(&self, call: &Call) -> Fault {
        self.faults
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .strike(call)
            .unwrap_or_default()
    }

    fn rate(&self) -> MutexGuard<'_, Rate> {
        self.rate.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The answer, if the account may still have it.
    fn rated(&self, answer: Answer) -> Result<Answer, Refusal> {
        self.rate().take(answer.tokens)?;
        Ok(answer)
    }

    fn variant_of(&self, call: &Call) -> String {
        self.variant
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .seed(call.key())
    }

    fn pace(&self, fault: &Fault) -> Pace {
        Pace {
            first: Duration::from_millis(fault.first_byte_delay_ms),
            between: fault
                .event_delay_ms
                .map_or(self.event_delay, Duration::from_millis),
            drop_connection: fault.drop_connection,
        }
    }

    fn answer(&self, call: &Call, fault: &Fault, variant: &str) -> Result<Answer, Refusal> {
        self.keys
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .check(call.key(), call.model())?;
        let post = |answer: &dyn Fn() -> Result<Answer, Refusal>| match call.method {
            Method::POST => answer(),
            _ => Err(Refusal::wrong_method("POST")),
        };
        let answered = match call.path.as_str() {
            "/v1/embeddings" => post(&|| {
                embeddings::answer(call.json()?, variant, fault.embeddings, |asked| {
                    self.stats.embeddings(asked)
                })
            }),
            "/v1/chat/completions" => post(&|| chat::chat(call.json()?)),
            "/v1/completions" => post(&|| chat::completions(call.json()?)),
            "/v1/responses" => post(&|| chat::responses(call.json()?)),
            "/v1/files" => post(&|| Ok(file(call))),
            "/v1/models" => Ok(model_list()),
            path => match path.strip_prefix("/v1/models/") {
                Some(name) => one_model(name),
                None => Err(Refusal::unknown_url(call.method.as_str(), path)),
            },
        };
        // A refused request was asked all the same, and is counted as such.
        fault.refusal().map_or(answered, Err)
    }
}

/// Tells the length and digest of the body it was sent, so that a proxy's copying can be checked.
fn file(call: &Call) -> Answer {
    let id = format!("file-{}", digest(&call.body));
    Answer::json(json!({"id": id, "object": "file", "bytes": call.body.len()}).to_string())
}

fn model(name: &str) -> Value {
    json!({"id": name, "object": "model", "created": 1_750_000_000, "owned_by": "openai-standin"})
}

fn model_list() -> Answer {
    let data: Vec<Value> = models::names().map(model).collect();
    Answer::json(json!({"object": "list", "data": data}).to_string())
}

fn one_model(name: &str) -> Result<Answer, Refusal> {
    match models::names().any(|known| known == name) {
        true => Ok(Answer::json(model(name).to_string())),
        false => Err(Refusal::unknown_model(name)),
    }
}
