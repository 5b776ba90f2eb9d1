//! Float16s with one scale, and the `f32`s that they stand for.
//!
//! This runs for every hit. So a float16 is widened by moving its bits, which leaves it 2^112 too
//! small, and the scale makes up for that: with the vector unit that the processor turns out to
//! have, this takes a third of the time of its own conversions one after the other.

use fearless_simd::{Level, Simd, dispatch};

/// Numbers that are decoded at a time: whole groups of base64, and few enough for the first cache.
const CHUNK: usize = 384;

/// What a float16 lacks whose bits were moved to where an `f32` has them.
const SHORT_OF: f32 = f32::from_bits((127 + 112) << 23);

/// Bits of a float16 that are all set if it is infinite or no number.
const NOT_FINITE: u16 = 0x7c00;

/// A vector as float16s.
#[derive(Clone, Debug)]
pub(in crate::embeddings) struct Halves {
    /// What makes `f32`s of them.
    pub(in crate::embeddings) scale: Scale,
    /// The float16s, as bits.
    pub(in crate::embeddings) numbers: Box<[u16]>,
}

/// How a float16 becomes the `f32` that it stands for: one operation, rounded once.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::embeddings) enum Scale {
    /// It is divided by an `f32`.
    Divide(f32),
    /// It is multiplied by an `f32`.
    Multiply(f32),
    /// It is multiplied by an `f64`.
    MultiplyWide(f64),
}

impl Scale {
    /// Whether powers of two can be taken out of it without a rest, so that [`Halves`] decodes to
    /// what the scale says.
    pub(in crate::embeddings) fn is_usable(self) -> bool {
        match self {
            Self::Divide(by) => by.is_normal() && by > 0.0 && (by / SHORT_OF).is_normal(),
            Self::Multiply(by) => by.is_normal() && by > 0.0 && (by * SHORT_OF).is_normal(),
            Self::MultiplyWide(by) => {
                by.is_normal() && by > 0.0 && (by * f64::from(SHORT_OF)).is_normal()
            }
        }
    }

    /// Writes the little-endian `f32`s that `halves` stand for.
    #[inline(never)]
    fn decode(self, halves: &[u16], floats: &mut [[u8; 4]]) {
        let level = Level::new();
        match self {
            Self::Divide(by) => {
                let by = by / SHORT_OF;
                dispatch!(level, simd => simd.vectorize(
                    #[inline(always)]
                    || each(halves, floats, |number| number / by)
                ));
            }
            Self::Multiply(by) => {
                let by = by * SHORT_OF;
                dispatch!(level, simd => simd.vectorize(
                    #[inline(always)]
                    || each(halves, floats, |number| number * by)
                ));
            }
            Self::MultiplyWide(by) => {
                let by = by * f64::from(SHORT_OF);
                dispatch!(level, simd => simd.vectorize(
                    #[inline(always)]
                    || each(halves, floats, |number| (f64::from(number) * by) as f32)
                ));
            }
        }
    }
}

impl Halves {
    /// Whether all numbers are finite.
    pub(in crate::embeddings) fn are_finite(&self) -> bool {
        let finite = |number: &u16| number & NOT_FINITE != NOT_FINITE;
        self.numbers.iter().all(finite)
    }

    /// Calls `take` with the little-endian `f32`s, some at a time.
    pub(super) fn each_chunk(&self, take: impl FnMut(&[u8])) {
        self.each_chunk_of(self.numbers.len(), take);
    }

    /// The same of the first numbers, of which there must be so many.
    pub(super) fn each_chunk_of(&self, count: usize, mut take: impl FnMut(&[u8])) {
        let mut chunk = [[0; 4]; CHUNK];
        for some in self.numbers[..count].chunks(CHUNK) {
            let floats = &mut chunk[..some.len()];
            self.scale.decode(some, floats);
            take(floats.as_flattened());
        }
    }

    /// Whether these are the little-endian `f32`s that it stands for, bit by bit.
    pub(super) fn stand_for(&self, floats: &[u8]) -> bool {
        let mut chunk = [[0; 4]; CHUNK];
        let (wanted, rest) = floats.as_chunks::<4>();
        rest.is_empty()
            && wanted.len() == self.numbers.len()
            && wanted
                .chunks(CHUNK)
                .zip(self.numbers.chunks(CHUNK))
                .all(|(wanted, some)| {
                    let floats = &mut chunk[..some.len()];
                    self.scale.decode(some, floats);
                    floats == wanted
                })
    }
}

#[inline(always)]
fn each(halves: &[u16], floats: &mut [[u8; 4]], scale: impl Fn(f32) -> f32) {
    for (float, &half) in floats.iter_mut().zip(halves) {
        *float = scale(widen(half)).to_le_bytes();
    }
}

/// A float16 over 2^112.
#[inline(always)]
pub(super) fn widen(half: u16) -> f32 {
    // Extended by its sign, so that one instruction widens eight of them.
    let bits = i32::from(half.cast_signed()).cast_unsigned();
    f32::from_bits(bits & 0x8000_0000 | (bits & 0x7fff) << 13)
}

/// The float16 that is nearest to 2^112 times a number, which must be in reach.
#[inline(always)]
pub(super) fn narrow(number: f32) -> u16 {
    let bits = number.to_bits();
    let magnitude = ((bits & 0x7fff_ffff) + 0x1000) >> 13;
    (bits >> 16 & 0x8000 | magnitude) as u16
}
