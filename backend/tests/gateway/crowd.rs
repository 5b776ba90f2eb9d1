//! A crowd of clients: overlapping batches, clients that leave, purges, limits, keys of several
//! owners, all at once. In any case every served vector is the right one: of its input, for its
//! owner, and younger than the last purge.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use http::{Request, StatusCode};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::support::Setup;
use crate::support::gateway::{Gateway, post, with};
use crate::support::upstream::{Call, Upstream, json_answer};

const CLIENTS: u64 = 200;
const INPUTS: u64 = 40;
const OWNERS: u64 = 3;

/// The upstream's model behind the name, which changes now and then; what is older is purged.
type Epoch = Arc<AtomicU32>;

/// Pseudo-random numbers, the same in every run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }
}

/// A vector that encodes its input in small whole numbers.
fn vector(input: &Value, owner: &str, epoch: u32) -> Value {
    let number: f32 = input.as_str().unwrap().parse().unwrap();
    let owner: f32 = owner.parse().unwrap();
    json!([number, owner, epoch, 1])
}

async fn answer(call: Call, epoch: Epoch, shared: bool) -> Response {
    // The vectors are those of the time when the upstream is asked.
    let now = epoch.load(SeqCst);
    let owner = call.headers["x-api-key"].to_str().unwrap().to_owned();
    let owner = if shared { "0" } else { &owner };
    let inputs = call.inputs();
    let mut dice = Dice(inputs.len() as u64 ^ u64::from(call.body[call.body.len() / 2]));
    sleep(Duration::from_millis(dice.below(4))).await;
    let mut data: Vec<Value> = inputs
        .iter()
        .enumerate()
        .map(|(index, input)| json!({"index": index, "embedding": vector(input, owner, now)}))
        .collect();
    data.reverse();
    match dice.below(12) {
        0 => return json_answer(StatusCode::TOO_MANY_REQUESTS, &json!({"error": {}})),
        1 => return json_answer(StatusCode::BAD_REQUEST, &json!({"error": {}})),
        2 => drop(data.pop()),
        _ => {}
    }
    json_answer(StatusCode::OK, &json!({ "data": data }))
}

fn request(owner: u64, inputs: &[String]) -> Request<Body> {
    let mut request = post(&json!({"model": "m", "input": inputs}));
    request.headers_mut().remove("authorization");
    with(request, "x-api-key", &owner.to_string())
}

/// Asks once, and may leave before there is an answer.
async fn visit(gateway: &Gateway, epochs: &[Epoch; 2], shared: bool, dice: &mut Dice) -> bool {
    let [current, purged] = epochs;
    let owner = dice.below(OWNERS);
    let first = dice.below(INPUTS);
    let inputs: Vec<String> = (0..=dice.below(7))
        .map(|next| ((first + next) % INPUTS).to_string())
        .collect();
    let patience = Duration::from_millis(match dice.below(4) {
        0 => dice.below(4),
        _ => 60_000,
    });
    let oldest = purged.load(SeqCst);
    let asked = gateway.send(request(owner, &inputs));
    let Ok(answer) = timeout(patience, asked).await else {
        return false;
    };
    let newest = current.load(SeqCst);
    if answer.status != StatusCode::OK {
        return false;
    }
    let expected_owner = if shared { 0.0 } else { owner as f32 };
    for (vector, input) in answer.vectors().iter().zip(&inputs) {
        assert_eq!(vector[0], input.parse::<f32>().unwrap());
        assert_eq!(vector[1], expected_owner);
        let epoch = vector[2] as u32;
        assert!(
            (oldest..=newest).contains(&epoch),
            "{oldest} {epoch} {newest}"
        );
    }
    true
}

/// Changes the model behind the name, and purges what came from the one before.
async fn change(gateway: &Gateway, [current, purged]: &[Epoch; 2]) {
    let next = current.fetch_add(1, SeqCst) + 1;
    let purge = Request::builder().method("PURGE").uri("/");
    let purge = purge.header("surrogate-key", "model:m");
    let answer = gateway.send(purge.body(Body::empty()).unwrap()).await;
    assert_eq!(answer.status, StatusCode::OK);
    purged.fetch_max(next, SeqCst);
}

async fn crowd(scope: &str, variables: &[(&str, &str)]) {
    let shared = scope == "shared";
    let upstream = Upstream::start().await;
    let epochs = [Epoch::default(), Epoch::default()];
    let current = Arc::clone(&epochs[0]);
    upstream.answers(move |call| answer(call, Arc::clone(&current), shared));
    let common = [
        ("CACHE_SCOPE", scope),
        ("UPSTREAM_MAX_INPUTS", "3"),
        ("ALLOW_ANONYMOUS_PURGE", "true"),
    ];
    let gateway = Setup::new()
        .with_all(&[&common, variables].concat())
        .before(&upstream)
        .await;
    let gateway = Arc::new(gateway);
    let mut clients = JoinSet::new();
    for seed in 0..CLIENTS {
        let (gateway, epochs) = (Arc::clone(&gateway), epochs.clone());
        clients.spawn(async move {
            let mut dice = Dice(seed);
            let mut answered = 0;
            for _ in 0..5 {
                answered += u32::from(visit(&gateway, &epochs, shared, &mut dice).await);
            }
            if seed % 20 == 0 {
                change(&gateway, &epochs).await;
            }
            answered
        });
    }
    let answered: u32 = clients.join_all().await.into_iter().sum();
    assert!(answered > 200, "{answered} answers prove little");
    assert!(gateway.metric("embedding_gateway_inputs_total{outcome=\"collapsed\"}") > 0);
    assert!(gateway.metric("embedding_gateway_inputs_total{outcome=\"memory\"}") > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_vector_of_a_crowds_is_right_when_credentials_do_not_share() {
    crowd("credential", &[]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_vector_of_a_crowds_is_right_when_all_share() {
    crowd("shared", &[]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_vector_of_a_crowds_is_right_with_a_store_and_little_memory() {
    let little = [("STORE", "memory:"), ("MEMORY_CACHE_BYTES", "4KiB")];
    crowd("credential", &little).await;
}
