//! Finds the float16s of which a vector was made, and the one number that scaled them.
//!
//! A float16 has 11 significant bits, so the largest number of a vector came from one of 1,024
//! significands. Each tells a scale, and few scales put other numbers of the vector on float16s
//! as well. The rest is arithmetic: each number bounds the scale, all of them together leave
//! hardly more than one `f32`, and what it gives is compared with the vector, bit by bit.

use super::floats;
use super::halves::{Halves, Scale, narrow, widen};

/// A significand times this is among the largest float16s. Where the largest number stands so
/// high, the small ones keep as many bits as they can.
const HIGHEST: f64 = 32.0;

/// Numbers that must lie on float16s before the others are looked at. By chance one of 1,024 does.
const PROBES: usize = 8;

/// The smallest number that probes, as a part of the largest: it has all its bits as a float16.
const LEAST_PROBE: f32 = 1.0 / 256.0;

/// How far a probe may lie beside a float16, relatively: it and the scale are rounded.
const TOLERANCE: f64 = 1.0 / (1 << 22) as f64;

/// Leaves 11 of the 53 bits of an `f64`, by Veltkamp's splitting.
const SPLIT: f64 = ((1_u64 << 42) + 1) as f64;

/// Scales that are tried in full. A vector of few different numbers lets many pass the probes.
const TRIES: usize = 4;

/// Rounding of the bounds. Where numbers lie in the middle of two `f32`s, both bounds are the factor.
const SLACK: f64 = 1.0 + 8.0 * f64::EPSILON;

/// What an `f32` with the moved bits of a float16 lacks.
const SHORT_OF: f64 = (1_u128 << 112) as f64;

/// The float16s of the little-endian `f32`s of `vector`, if they stand for every bit of it.
pub(super) fn find(vector: &[u8]) -> Option<Halves> {
    let peak = floats(vector).map(f32::abs).fold(0.0, f32::max);
    if peak == 0.0 || !peak.is_finite() {
        return None;
    }
    let probes = probes(vector, peak);
    let scales = (1024..2048).map(|bits| f64::from(bits) * HIGHEST / f64::from(peak));
    scales
        .filter(|&scale| probes.iter().all(|&probe| is_near_half(probe * scale)))
        .take(TRIES)
        .find_map(|scale| fit(vector, scale))
}

/// The first large numbers, without their signs.
fn probes(vector: &[u8], peak: f32) -> [f64; PROBES] {
    let large = floats(vector)
        .map(f32::abs)
        .filter(|&number| number >= peak * LEAST_PROBE && number != peak);
    let mut probes = [f64::from(peak); PROBES];
    for (probe, number) in probes.iter_mut().zip(large) {
        *probe = f64::from(number);
    }
    probes
}

#[inline(always)]
fn is_near_half(number: f64) -> bool {
    let split = number * SPLIT;
    let nearest = split - (split - number);
    (nearest - number).abs() <= number * TOLERANCE
}

/// The float16s nearest to the scaled vector, with a scale that gives back every bit.
fn fit(vector: &[u8], scale: f64) -> Option<Halves> {
    let scaled = scale / SHORT_OF;
    let numbers = floats(vector).map(|number| narrow((f64::from(number) * scaled) as f32));
    let numbers: Box<[u16]> = numbers.collect();
    let factor = factor(vector, &numbers)?;
    let mut halves = Halves {
        scale: Scale::Divide((1.0 / factor) as f32),
        numbers,
    };
    let others = [Scale::Multiply(factor as f32), Scale::MultiplyWide(factor)];
    for scale in std::iter::once(halves.scale).chain(others) {
        halves.scale = scale;
        if scale.is_usable() && halves.stand_for(vector) {
            return Some(halves);
        }
    }
    None
}

/// The middle of the factors that make the numbers of the vector of these float16s. If an `f32`
/// is among them, the one nearest to the middle is.
fn factor(vector: &[u8], halves: &[u16]) -> Option<f64> {
    let (mut least, mut most) = (0.0_f64, f64::INFINITY);
    for (number, &half) in floats(vector).zip(halves) {
        if number == 0.0 {
            continue;
        }
        // No factor makes a number of a zero, and infinity is beyond all that the peak allows.
        let inverse = (f64::from(widen(half)) * SHORT_OF).abs().recip();
        let (below, above) = rounded_to(number.abs());
        least = least.max(below * inverse);
        most = most.min(above * inverse);
        if least > most * SLACK {
            return None;
        }
    }
    Some((least + most) * 0.5)
}

/// Between which numbers all are rounded to this one, which is positive and finite.
#[inline(always)]
fn rounded_to(number: f32) -> (f64, f64) {
    let neighbour = |bits| f64::from(f32::from_bits(bits));
    let (bits, number) = (number.to_bits(), f64::from(number));
    (
        (neighbour(bits - 1) + number) * 0.5,
        (neighbour(bits + 1) + number) * 0.5,
    )
}
