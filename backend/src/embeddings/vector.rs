//! A vector in memory and in the store: in half the bytes where that keeps every bit.
//!
//! Some models compute in half precision, and divide by the norm at the end: each number that
//! OpenAI sends is a float16 over one `f32`. Such a vector is kept as its float16s and the one
//! number, all others as the `f32`s that came. What a client gets is the same, bit by bit:
//! [`Vector::new`] decodes what it made and compares before it trusts it.

mod grid;
mod halves;
mod shortened;

use sha2::{Digest, Sha256};

pub(super) use self::halves::{Halves, Scale};
pub use self::shortened::Likeness;

/// The numbers of one embedding.
#[derive(Clone, Debug, Default)]
pub struct Vector(Form);

#[derive(Clone, Debug)]
enum Form {
    /// Little-endian `f32`s.
    Floats(Box<[u8]>),
    Halves(Halves),
}

impl Default for Form {
    fn default() -> Self {
        Self::Floats(Box::default())
    }
}

impl Vector {
    /// The vector of these little-endian `f32`s.
    pub fn new(floats: Vec<u8>) -> Self {
        let halves = grid::find(&floats);
        Self(halves.map_or_else(|| Form::Floats(floats.into()), Form::Halves))
    }

    /// The vector that these float16s stand for.
    pub(super) fn of_halves(halves: Halves) -> Self {
        Self(Form::Halves(halves))
    }

    /// Its float16s, if it has them.
    pub(super) fn halves(&self) -> Option<&Halves> {
        match &self.0 {
            Form::Floats(_) => None,
            Form::Halves(halves) => Some(halves),
        }
    }

    /// How many numbers it has.
    pub fn dimensions(&self) -> usize {
        match &self.0 {
            Form::Floats(bytes) => bytes.len() / size_of::<f32>(),
            Form::Halves(halves) => halves.numbers.len(),
        }
    }

    /// The bytes that it takes as `f32`s.
    pub fn float_bytes(&self) -> usize {
        self.dimensions() * size_of::<f32>()
    }

    /// The bytes that it takes.
    pub fn kept_bytes(&self) -> usize {
        match &self.0 {
            Form::Floats(bytes) => bytes.len(),
            Form::Halves(halves) => size_of_val(&*halves.numbers),
        }
    }

    /// The bytes that it would take more as `f32`s.
    pub fn saved_bytes(&self) -> usize {
        self.float_bytes() - self.kept_bytes()
    }

    /// Calls `take` with its little-endian `f32`s, some at a time. All times but the last there
    /// are as many as fill whole groups of base64.
    pub fn each_chunk(&self, mut take: impl FnMut(&[u8])) {
        match &self.0 {
            Form::Floats(bytes) => take(bytes),
            Form::Halves(halves) => halves.each_chunk(take),
        }
    }

    /// Its numbers.
    pub fn to_floats(&self) -> Vec<f32> {
        let mut numbers = Vec::with_capacity(self.dimensions());
        self.each_chunk(|chunk| numbers.extend(floats(chunk)));
        numbers
    }

    /// Whether it may be used at all.
    pub fn is_sound(&self) -> bool {
        let mut soundness = Soundness::default();
        self.each_chunk(|chunk| soundness.see(chunk));
        soundness.holds()
    }
}

/// By every bit of the numbers; how they are kept does not count.
impl PartialEq for Vector {
    fn eq(&self, other: &Self) -> bool {
        let bits = |vector: &Self| vector.to_floats().into_iter().map(f32::to_bits);
        bits(self).eq(bits(other))
    }
}

impl FromIterator<f32> for Vector {
    fn from_iter<T: IntoIterator<Item = f32>>(numbers: T) -> Self {
        Self::new(numbers.into_iter().flat_map(f32::to_le_bytes).collect())
    }
}

/// Whether little-endian `f32`s may be used as a vector: finite, and not all zero.
pub fn is_sound(vector: &[u8]) -> bool {
    let mut soundness = Soundness::default();
    soundness.see(vector);
    soundness.holds()
}

/// A name of these little-endian `f32`s that no others have.
pub fn floats_digest(vector: &[u8]) -> [u8; 32] {
    Sha256::digest(vector).into()
}

/// What is known of numbers so far.
#[derive(Default)]
struct Soundness {
    is_any: bool,
    is_broken: bool,
}

impl Soundness {
    fn see(&mut self, chunk: &[u8]) {
        for number in floats(chunk) {
            self.is_any |= number != 0.0;
            self.is_broken |= !number.is_finite();
        }
    }

    fn holds(&self) -> bool {
        self.is_any && !self.is_broken
    }
}

/// The numbers in little-endian `f32`s.
fn floats(vector: &[u8]) -> impl Iterator<Item = f32> + '_ {
    let (numbers, _) = vector.as_chunks::<4>();
    numbers.iter().map(|&bytes| f32::from_le_bytes(bytes))
}

#[cfg(test)]
mod recordings;
#[cfg(test)]
mod tests;
