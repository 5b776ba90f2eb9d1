//! One cached vector, and the object that describes itself in a store.
//!
//! Layout of the object, integers little-endian:
//!
//! | bytes | what |
//! |---|---|
//! | 4 | magic `EGV1` |
//! | 32 | key |
//! | 8 | created, Unix milliseconds |
//! | 4 | tokens |
//! | 4 | dimensions *d* |
//! | 2 | length *m* of the model's name |
//! | *m* | the model's name as the upstream answered it, UTF-8 |
//! | 4·*d* | the vector, `f32` |
//! | 32 | SHA-256 of all bytes before |

use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::key::Key;

const MAGIC: [u8; 4] = *b"EGV1";
const CHECKSUM_BYTES: usize = 32;

/// `answer::check` drops longer names of answering models, so an object's length field holds all.
pub const MAX_MODEL_BYTES: usize = 1024;

/// A vector, and what answers say about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The model's name as the upstream answered it.
    pub model: Arc<str>,
    /// What the upstream charged for it, in tokens.
    pub tokens: u32,
    /// When the call that brought it began, in Unix milliseconds.
    pub created_ms: u64,
    /// Little-endian `f32`s, finite and not all zero.
    pub vector: Box<[u8]>,
}

/// Why bytes from a store are not the wanted entry. Each reads as a miss.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// Another program's object, another version, cut off or altered.
    #[error("damaged")]
    Damaged,
    /// A whole entry, of another key.
    #[error("of another key")]
    Misplaced,
}

impl Entry {
    /// How many numbers the vector has.
    pub fn dimensions(&self) -> usize {
        self.vector.len() / size_of::<f32>()
    }

    /// The object that a store keeps under `key`.
    pub fn to_object(&self, key: &Key) -> Vec<u8> {
        let model = self.model.as_bytes();
        let mut object = Vec::with_capacity(54 + model.len() + self.vector.len() + CHECKSUM_BYTES);
        object.extend_from_slice(&MAGIC);
        object.extend_from_slice(key.as_bytes());
        object.extend_from_slice(&self.created_ms.to_le_bytes());
        object.extend_from_slice(&self.tokens.to_le_bytes());
        object.extend_from_slice(&u32::try_from(self.dimensions()).unwrap_or(0).to_le_bytes());
        object.extend_from_slice(&u16::try_from(model.len()).unwrap_or(0).to_le_bytes());
        object.extend_from_slice(model);
        object.extend_from_slice(&self.vector);
        let checksum = Sha256::digest(&object);
        object.extend_from_slice(&checksum);
        object
    }

    /// Reads back what [`Self::to_object`] wrote for the same key.
    pub fn from_object(key: &Key, object: &[u8]) -> Result<Self, Unusable> {
        let (found, entry) = read(object).ok_or(Unusable::Damaged)?;
        if found == *key {
            Ok(entry)
        } else {
            Err(Unusable::Misplaced)
        }
    }
}

/// Whether a vector may be used at all: finite, and not all zero.
pub fn is_sound(vector: &[u8]) -> bool {
    let mut any = false;
    floats(vector).all(|number| {
        any |= number != 0.0;
        number.is_finite()
    }) && any
}

/// The numbers of a vector.
pub fn floats(vector: &[u8]) -> impl Iterator<Item = f32> + '_ {
    let (numbers, _) = vector.as_chunks::<4>();
    numbers.iter().map(|&bytes| f32::from_le_bytes(bytes))
}

fn read(object: &[u8]) -> Option<(Key, Entry)> {
    let (described, checksum) = object.split_last_chunk::<CHECKSUM_BYTES>()?;
    let (magic, rest) = described.split_first_chunk::<4>()?;
    let (key, rest) = rest.split_first_chunk::<32>()?;
    let (created, rest) = rest.split_first_chunk::<8>()?;
    let (tokens, rest) = rest.split_first_chunk::<4>()?;
    let (dimensions, rest) = rest.split_first_chunk::<4>()?;
    let (model_bytes, rest) = rest.split_first_chunk::<2>()?;
    let (model, vector) = rest.split_at_checked(u16::from_le_bytes(*model_bytes).into())?;

    let expected = usize::try_from(u32::from_le_bytes(*dimensions))
        .ok()?
        .checked_mul(4)?;
    let whole = *magic == MAGIC
        && vector.len() == expected
        && Sha256::digest(described).as_slice() == checksum
        && is_sound(vector);
    whole.then_some(())?;
    let entry = Entry {
        model: std::str::from_utf8(model).ok()?.into(),
        tokens: u32::from_le_bytes(*tokens),
        created_ms: u64::from_le_bytes(*created),
        vector: vector.into(),
    };
    Some((Key::from(*key), entry))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const KEY: [u8; 32] = [7; 32];

    fn entry() -> Entry {
        Entry {
            model: "text-embedding-ada-002-v2".into(),
            tokens: 8,
            created_ms: 1_700_000_000_123,
            vector: [0.5_f32, -1.25, 3.0]
                .into_iter()
                .flat_map(f32::to_le_bytes)
                .collect(),
        }
    }

    #[test]
    fn an_object_reads_back() {
        let object = entry().to_object(&KEY.into());
        assert_eq!(Entry::from_object(&KEY.into(), &object), Ok(entry()));
    }

    #[test]
    fn another_keys_object_is_misplaced() {
        let object = entry().to_object(&KEY.into());
        assert_eq!(
            Entry::from_object(&[8; 32].into(), &object),
            Err(Unusable::Misplaced)
        );
    }

    #[test]
    fn every_truncation_is_damage() {
        let object = entry().to_object(&KEY.into());
        for length in 0..object.len() {
            assert_eq!(
                Entry::from_object(&KEY.into(), &object[..length]),
                Err(Unusable::Damaged)
            );
        }
    }

    #[test]
    fn every_flipped_bit_is_damage() {
        let object = entry().to_object(&KEY.into());
        for bit in 0..object.len() * 8 {
            let mut flipped = object.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(
                Entry::from_object(&KEY.into(), &flipped),
                Err(Unusable::Damaged),
                "{bit}"
            );
        }
    }

    #[test]
    fn unsound_vectors_are_noticed() {
        let bytes = |numbers: &[f32]| -> Vec<u8> {
            numbers
                .iter()
                .flat_map(|number| number.to_le_bytes())
                .collect()
        };
        assert!(is_sound(&bytes(&[0.0, -0.1])));
        for bad in [
            &[][..],
            &[0.0, -0.0],
            &[1.0, f32::NAN],
            &[f32::INFINITY, 1.0],
        ] {
            assert!(!is_sound(&bytes(bad)), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_are_no_entry(object in proptest::collection::vec(any::<u8>(), 0..300)) {
            prop_assert_eq!(Entry::from_object(&KEY.into(), &object), Err(Unusable::Damaged));
        }
    }
}
