//! The object that describes itself in a store: an [`Entry`], and its key.
//!
//! Layout, integers and numbers little-endian:
//!
//! | bytes | format 1 | format 2 |
//! |---|---|---|
//! | 4 | magic `EGV1` | magic `EGV2` |
//! | 32 | key | |
//! | 8 | created, Unix milliseconds | |
//! | 4 | tokens | |
//! | 4 | dimensions *d* | |
//! | 2 | length *m* of the model's name | |
//! | *m* | the model's name as the upstream answered it, UTF-8 | |
//! | 9 | | how float16s are scaled: [`DIVIDE`] …, and an `f64` |
//! | 4·*d* or 2·*d* | the vector, `f32` | its float16s |
//! | 32 | SHA-256 of all bytes before | the same, of these and the vector as `f32` |
//!
//! A vector that can be float16s is written as such. The checksum of format 2 covers what the
//! float16s decode to, so that no gateway serves other bits than the one that wrote them.

mod head;

use sha2::{Digest, Sha256};

pub use self::head::{Flaw, Format, ObjectHead};
use super::entry::Entry;
use super::key::Key;
use super::vector::{Halves, Scale, Vector};

const FLOATS: [u8; 4] = *b"EGV1";
const HALVES: [u8; 4] = *b"EGV2";
const CHECKSUM_BYTES: usize = 32;
/// What stands before the model's name.
const HEAD_BYTES: usize = 54;
/// What stands before float16s: how they are scaled.
const SCALE_BYTES: usize = 9;

/// Float16s are divided by an `f32`.
const DIVIDE: u8 = 1;
/// Float16s are multiplied by an `f32`.
const MULTIPLY: u8 = 2;
/// Float16s are multiplied by an `f64`.
const MULTIPLY_WIDE: u8 = 3;

/// Why bytes from a store are not the wanted entry. Each reads as a miss.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ObjectFault {
    /// Another program's object, another version, cut off or altered.
    #[error("damaged")]
    Damaged,
    /// A whole entry, of another key.
    #[error("of another key")]
    Misplaced,
}

impl Entry {
    /// The object that a store keeps under `key`.
    pub fn to_object(&self, key: &Key) -> Vec<u8> {
        let (model, halves) = (self.model.as_bytes(), self.vector.halves());
        let numbers = SCALE_BYTES + self.vector.kept_bytes();
        let room = HEAD_BYTES + model.len() + numbers + CHECKSUM_BYTES;
        let mut object = Vec::with_capacity(room);
        object.extend_from_slice(&halves.map_or(FLOATS, |_| HALVES));
        object.extend_from_slice(key.as_bytes());
        object.extend_from_slice(&self.created_ms.to_le_bytes());
        object.extend_from_slice(&self.tokens.to_le_bytes());
        object.extend_from_slice(&u32::try_from(self.dimensions()).unwrap_or(0).to_le_bytes());
        object.extend_from_slice(&u16::try_from(model.len()).unwrap_or(0).to_le_bytes());
        object.extend_from_slice(model);
        match halves {
            Some(halves) => push_halves(&mut object, halves),
            None => self
                .vector
                .each_chunk(|chunk| object.extend_from_slice(chunk)),
        }
        let checksum = checksum(&object, halves.map(|_| &self.vector));
        object.extend_from_slice(&checksum);
        object
    }

    /// How long its object is, or would be, in format 1.
    pub fn float_object_bytes(&self) -> usize {
        HEAD_BYTES + self.model.len() + self.vector.float_bytes() + CHECKSUM_BYTES
    }

    /// Reads back what [`Self::to_object`] wrote for the same key.
    pub fn from_object(key: &Key, object: &[u8]) -> Result<Self, ObjectFault> {
        let (found, entry) = Self::read_object(object).ok_or(ObjectFault::Damaged)?;
        if found == *key {
            Ok(entry)
        } else {
            Err(ObjectFault::Misplaced)
        }
    }

    /// The key and the entry of an object, if it is whole.
    pub fn read_object(object: &[u8]) -> Option<(Key, Self)> {
        let (described, checksum_found) = object.split_last_chunk::<CHECKSUM_BYTES>()?;
        let (head, numbers) = ObjectHead::read(described)?;
        let (vector, decoded) = match head.format {
            Format::Floats => (read_floats(numbers)?, false),
            Format::Halves => (read_halves(numbers)?, true),
        };
        let whole = Some(vector.dimensions()) == usize::try_from(head.dimensions).ok()
            && vector.is_sound()
            && checksum(described, decoded.then_some(&vector)) == *checksum_found;
        whole.then_some(())?;
        let entry = Self {
            model: head.model.into(),
            tokens: head.tokens,
            created_ms: head.created_ms,
            vector,
        };
        Some((head.key, entry))
    }
}

fn push_halves(object: &mut Vec<u8>, halves: &Halves) {
    let (manner, factor) = match halves.scale {
        Scale::Divide(by) => (DIVIDE, by.into()),
        Scale::Multiply(by) => (MULTIPLY, by.into()),
        Scale::MultiplyWide(by) => (MULTIPLY_WIDE, by),
    };
    object.push(manner);
    object.extend_from_slice(&f64::to_le_bytes(factor));
    object.extend(
        halves
            .numbers
            .iter()
            .flat_map(|number| number.to_le_bytes()),
    );
}

fn read_floats(numbers: &[u8]) -> Option<Vector> {
    let whole = numbers.len().is_multiple_of(size_of::<f32>());
    whole.then(|| Vector::new(numbers.to_vec()))
}

fn read_halves(numbers: &[u8]) -> Option<Vector> {
    let (manner, rest) = numbers.split_first()?;
    let (factor, rest) = rest.split_first_chunk::<8>()?;
    let factor = f64::from_le_bytes(*factor);
    let narrow = || Some(factor as f32).filter(|&narrow| f64::from(narrow) == factor);
    let scale = match *manner {
        DIVIDE => Scale::Divide(narrow()?),
        MULTIPLY => Scale::Multiply(narrow()?),
        MULTIPLY_WIDE => Scale::MultiplyWide(factor),
        _ => return None,
    };
    let (numbers, []) = rest.as_chunks::<2>() else {
        return None;
    };
    let numbers = numbers.iter().map(|&bytes| u16::from_le_bytes(bytes));
    let halves = Halves {
        scale,
        numbers: numbers.collect(),
    };
    (scale.is_usable() && halves.are_finite()).then(|| Vector::of_halves(halves))
}

/// Of what stands before it and, if its bits are not in there, of the vector.
fn checksum(described: &[u8], vector: Option<&Vector>) -> [u8; CHECKSUM_BYTES] {
    let mut hash = Sha256::new_with_prefix(described);
    if let Some(vector) = vector {
        vector.each_chunk(|chunk| hash.update(chunk));
    }
    hash.finalize().into()
}

#[cfg(test)]
mod tests;
