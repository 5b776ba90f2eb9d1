//! Deterministic unit vectors: the same question always has the same answer, on every machine.

use sha2::{Digest, Sha256};

use crate::models::EmbeddingModel;
use crate::request::Input;

/// What a vector depends on, apart from its length.
#[derive(Debug)]
pub(crate) struct Seed<'a> {
    /// The model that embeds.
    pub(crate) model: &'static EmbeddingModel,
    /// The text or the tokens.
    pub(crate) input: &'a Input,
    /// Canonical JSON of the request's unknown fields: a cache that overlooks one of them serves a
    /// vector that is visibly wrong.
    pub(crate) extra: &'a str,
    /// What else was asked for by `/vectors`; empty if nothing was.
    pub(crate) variant: &'a str,
}

/// The unit vector of `seed`, shortened to `dimensions` as the real models do: a prefix of the full
/// vector, scaled to length 1 again. OpenAI's numbers are float16s, divided by one `f32`.
pub(crate) fn unit_vector(seed: &Seed<'_>, dimensions: usize) -> Vec<f32> {
    let mut random = Random::new(seed);
    let full: Vec<f64> = (0..seed.model.dimensions)
        .map(|_| match seed.model.is_half {
            true => half(random.next()),
            false => random.next(),
        })
        .collect();
    let prefix = full.get(..dimensions).unwrap_or(&full);
    let norm = prefix.iter().map(|value| value * value).sum::<f64>().sqrt();
    match seed.model.is_half {
        true => prefix
            .iter()
            .map(|value| narrow(*value) / narrow(norm))
            .collect(),
        false => prefix.iter().map(|value| narrow(value / norm)).collect(),
    }
}

/// Rounds to the 11 bits of a float16, by Veltkamp's splitting.
#[expect(clippy::cast_precision_loss, reason = "43 bits fit an f64")]
fn half(value: f64) -> f64 {
    let split = value * ((1_u64 << 42) + 1) as f64;
    split - (split - value)
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "the rounding to f32 is what is wanted"
)]
fn narrow(value: f64) -> f32 {
    value as f32
}

/// `SplitMix64`, seeded with SHA-256: a digest for each number would take most of the stand-in's time.
#[derive(Debug)]
struct Random(u64);

impl Random {
    fn new(seed: &Seed<'_>) -> Self {
        let mut digest = Sha256::new();
        let kind = match seed.input {
            Input::Text(_) => "text",
            Input::Tokens(_) => "tokens",
        };
        let input = seed.input.canonical();
        let variant = Some(seed.variant).filter(|variant| !variant.is_empty());
        let parts = [seed.model.name, kind, &input, seed.extra];
        for part in parts.into_iter().chain(variant) {
            // The length keeps "ab" + "c" and "a" + "bc" apart.
            digest.update((part.len() as u64).to_le_bytes());
            digest.update(part.as_bytes());
        }
        let bytes = digest.finalize();
        Self(
            bytes
                .iter()
                .take(8)
                .fold(0, |state, byte| (state << 8) | u64::from(*byte)),
        )
    }

    /// The next number in [-1, 1).
    #[expect(clippy::cast_precision_loss, reason = "53 bits fit an f64")]
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        (mixed >> 11) as f64 / (1_u64 << 52) as f64 - 1.0
    }
}
