//! A fake upstream that records requests and answers as a test says.

use std::pin::Pin;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

const DIMENSIONS: usize = 8;

type Answer = Pin<Box<dyn Future<Output = Response> + Send>>;
type Script = Arc<dyn Fn(Call) -> Answer + Send + Sync>;

/// One request as the upstream received it.
#[derive(Clone, Debug)]
pub struct Call {
    pub method: Method,
    pub target: String,
    pub headers: HeaderMap,
    pub body: Bytes,
}

pub struct Upstream {
    pub url: String,
    state: Arc<Recorder>,
    _server: JoinSet<()>,
}

struct Recorder {
    calls: Mutex<Vec<Call>>,
    script: Mutex<Script>,
}

impl Call {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub fn inputs(&self) -> Vec<Value> {
        let input = self.json()["input"].clone();
        input.as_array().cloned().unwrap_or_else(|| vec![input])
    }
}

impl Upstream {
    /// Answers every embeddings call well.
    pub async fn start() -> Self {
        let script: Script = Arc::new(|call| Box::pin(async move { embeddings(&call) }));
        let state = Arc::new(Recorder {
            calls: Mutex::default(),
            script: Mutex::new(script),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/v1", listener.local_addr().unwrap());
        let router = Router::new()
            .fallback(record)
            .with_state(Arc::clone(&state));
        let mut server = JoinSet::new();
        server.spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self {
            url,
            state,
            _server: server,
        }
    }

    /// From now on answers what `script` says.
    pub fn answers<F, A>(&self, script: F)
    where
        F: Fn(Call) -> A + Send + Sync + 'static,
        A: Future<Output = Response> + Send + 'static,
    {
        *self.state.script.lock().unwrap() = Arc::new(move |call| Box::pin(script(call)));
    }

    /// From now on answers embeddings calls with `body`.
    pub fn answers_json(&self, status: StatusCode, body: Value) {
        self.answers(move |_| std::future::ready(json_answer(status, &body)));
    }

    /// The requests so far.
    pub fn calls(&self) -> Vec<Call> {
        self.state.calls.lock().unwrap().clone()
    }

    pub fn call_count(&self) -> usize {
        self.state.calls.lock().unwrap().len()
    }

    /// The inputs of all calls, in order.
    pub fn inputs(&self) -> Vec<Value> {
        self.calls().iter().flat_map(Call::inputs).collect()
    }
}

/// A well-behaved answer.
pub fn embeddings(call: &Call) -> Response {
    json_answer(StatusCode::OK, &embeddings_body(call))
}

pub fn embeddings_body(call: &Call) -> Value {
    embeddings_body_of(call, vector)
}

/// The same with other vectors.
pub fn embeddings_body_of(call: &Call, vector: fn(&str, &Value, usize) -> Vec<f32>) -> Value {
    let question = call.json();
    let model = question["model"].as_str().unwrap().to_owned();
    let dimensions = question["dimensions"]
        .as_u64()
        .map_or(DIMENSIONS, |n| n as usize);
    let inputs = call.inputs();
    let item = |(index, input): (usize, &Value)| {
        let bytes: Vec<u8> = vector(&model, input, dimensions)
            .into_iter()
            .flat_map(f32::to_le_bytes)
            .collect();
        let embedding = base64_simd::STANDARD.encode_to_string(bytes);
        json!({"object": "embedding", "index": index, "embedding": embedding})
    };
    let data: Vec<Value> = inputs.iter().enumerate().map(item).collect();
    let tokens: usize = inputs.iter().map(tokens).sum();
    json!({
        "object": "list",
        "data": data,
        "model": format!("{model}-v2"),
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
    })
}

/// What the upstream charges for an input: a token a byte.
pub fn tokens(input: &Value) -> usize {
    input
        .as_array()
        .map_or_else(|| input.as_str().unwrap().len(), Vec::len)
}

/// The one right vector of an input.
pub fn vector(model: &str, input: &Value, dimensions: usize) -> Vec<f32> {
    let number = |index: usize| {
        let digest = Sha256::digest(format!("{model}|{input}|{index}"));
        f32::from(i16::from_le_bytes([digest[0], digest[1]])) / 32768.0 + 1e-6
    };
    (0..dimensions).map(number).collect()
}

/// What a Matryoshka model says of an input: the beginning of the full vector, of length 1.
pub fn matryoshka(model: &str, input: &Value, dimensions: usize) -> Vec<f32> {
    let numbers = vector(model, input, dimensions);
    let square = |number: &f32| f64::from(*number).powi(2);
    let norm = numbers.iter().map(square).sum::<f64>().sqrt();
    let scaled = numbers.iter().map(|&number| f64::from(number) / norm);
    scaled.map(|number| number as f32).collect()
}

/// The right vectors of `inputs` in the upstream's usual size.
pub fn vectors(model: &str, inputs: &[&str]) -> Vec<Vec<f32>> {
    inputs
        .iter()
        .map(|input| vector(model, &json!(input), DIMENSIONS))
        .collect()
}

pub fn json_answer(status: StatusCode, body: &Value) -> Response {
    Response::builder()
        .status(status)
        .header("content-type", "application/json")
        .header("x-request-id", "req_1")
        .header("openai-organization", "org-of-the-key")
        .header("x-ratelimit-remaining-requests", "99")
        .header("set-cookie", "__cf_bm=secret")
        .body(Body::from(body.to_string()))
        .unwrap()
}

async fn record(State(state): State<Arc<Recorder>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let call = Call {
        method: parts.method,
        target: parts.uri.to_string(),
        headers: parts.headers,
        body: body
            .collect()
            .await
            .map(http_body_util::Collected::to_bytes)
            .unwrap_or_default(),
    };
    state.calls.lock().unwrap().push(call.clone());
    let script = Arc::clone(&state.script.lock().unwrap());
    script(call).await
}
