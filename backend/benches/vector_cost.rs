//! Measures what it costs to keep a vector of 1,536 dimensions as float16s, as JSON: microseconds
//! to find them, and to find that there are none; nanoseconds to write it for a client, as
//! float16s and as `f32`s.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use embedding_gateway::embeddings::entry::Entry;
use embedding_gateway::embeddings::request::Encoding;
use embedding_gateway::embeddings::response::write_answer;
use embedding_gateway::embeddings::vector::Vector;

/// Rounds, of which the fastest counts: other programs take time from the others.
const ROUNDS: u32 = 2000;

/// What one round repeats.
const TIMES: u32 = 20;

fn main() {
    let significands = (0..1536_u32).map(|n| n.wrapping_mul(2_654_435_761) >> 21);
    let halves: Vec<f32> = significands
        .map(|n| (n as f32 - 1023.5) / 26_754.7)
        .collect();
    let others: Vec<f32> = halves.iter().map(|number| number.sin()).collect();
    let (halves, others) = (bytes(&halves), bytes(&others));
    let nanoseconds = [
        ("find", encode(&halves)),
        ("refuse", encode(&others)),
        ("base64", write(&halves, Encoding::Base64)),
        ("base64_f32", write(&others, Encoding::Base64)),
        ("float", write(&halves, Encoding::Float)),
        ("float_f32", write(&others, Encoding::Float)),
    ];
    let members = nanoseconds.map(|(name, time)| format!("\"{name}\": {time:.0}"));
    println!("{{{}}}", members.join(", "));
}

fn bytes(numbers: &[f32]) -> Vec<u8> {
    numbers
        .iter()
        .flat_map(|number| number.to_le_bytes())
        .collect()
}

fn encode(floats: &[u8]) -> f64 {
    time(|| {
        black_box(Vector::new(black_box(floats).to_vec()));
    })
}

fn write(floats: &[u8], encoding: Encoding) -> f64 {
    let entries = [Arc::new(Entry {
        model: "m".into(),
        tokens: 1,
        created_ms: 0,
        vector: Vector::new(floats.to_vec()),
    })];
    time(|| {
        black_box(write_answer(black_box(&entries), &[0], encoding, None));
    })
}

/// Nanoseconds of the fastest round.
fn time(work: impl Fn()) -> f64 {
    let rounds = (0..ROUNDS).map(|_| {
        let began = Instant::now();
        (0..TIMES).for_each(|_| work());
        began.elapsed().as_nanos() as f64 / f64::from(TIMES)
    });
    rounds.fold(f64::INFINITY, f64::min)
}
