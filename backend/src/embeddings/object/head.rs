//! What stands before an object's vector, and what is wrong with an object that is not usable.

use super::{CHECKSUM_BYTES, FLOATS, HALVES, HEAD_BYTES, ObjectFault, SCALE_BYTES};
use crate::embeddings::entry::Entry;
use crate::embeddings::key::Key;

/// What the magic of every format begins with.
const FAMILY: &[u8] = b"EGV";

/// How an object keeps its vector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Format 1: as `f32`s.
    Floats,
    /// Format 2: as float16s and a scale.
    Halves,
}

/// What an object says before its vector. Nothing vouches for it before the checksum is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ObjectHead<'a> {
    /// How the vector is kept.
    pub format: Format,
    /// The key that it was written for.
    pub key: Key,
    /// When the call that brought the vector began, in Unix milliseconds.
    pub created_ms: u64,
    /// What the upstream charged for it, in tokens.
    pub tokens: u32,
    /// How many numbers the vector has.
    pub dimensions: u32,
    /// The model's name as the upstream answered it.
    pub model: &'a str,
}

/// What is wrong with an object that stands where an entry is looked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum Flaw {
    #[error("does not begin as an object of a gateway does")]
    Foreign,
    #[error("is of a format that this program does not know")]
    UnknownFormat,
    #[error("is cut off after {0} bytes")]
    CutOff(u64),
    #[error("is {found} bytes long instead of {wanted}")]
    Length { wanted: u64, found: u64 },
    #[error("was altered: its checksum does not hold")]
    Altered,
    #[error("holds the vector of the key {0}")]
    Misplaced(Key),
}

impl<'a> ObjectHead<'a> {
    /// As many bytes as any head has.
    pub const MOST_BYTES: u64 = HEAD_BYTES as u64 + u16::MAX as u64;

    /// Reads the head of an object, and returns what stands behind it.
    pub fn read(object: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let (magic, rest) = object.split_first_chunk::<4>()?;
        let (key, rest) = rest.split_first_chunk::<32>()?;
        let (created, rest) = rest.split_first_chunk::<8>()?;
        let (tokens, rest) = rest.split_first_chunk::<4>()?;
        let (dimensions, rest) = rest.split_first_chunk::<4>()?;
        let (model_bytes, rest) = rest.split_first_chunk::<2>()?;
        let (model, rest) = rest.split_at_checked(u16::from_le_bytes(*model_bytes).into())?;
        let head = Self {
            format: match *magic {
                FLOATS => Format::Floats,
                HALVES => Format::Halves,
                _ => return None,
            },
            key: Key::from(*key),
            created_ms: u64::from_le_bytes(*created),
            tokens: u32::from_le_bytes(*tokens),
            dimensions: u32::from_le_bytes(*dimensions),
            model: std::str::from_utf8(model).ok()?,
        };
        Some((head, rest))
    }

    /// How long the whole object is.
    pub fn object_bytes(&self) -> u64 {
        let numbers = match self.format {
            Format::Floats => 4 * u64::from(self.dimensions),
            Format::Halves => SCALE_BYTES as u64 + 2 * u64::from(self.dimensions),
        };
        (HEAD_BYTES + self.model.len() + CHECKSUM_BYTES) as u64 + numbers
    }

    /// How long it is, or would be, in format 1.
    pub fn float_object_bytes(&self) -> u64 {
        let format = Format::Floats;
        Self { format, ..*self }.object_bytes()
    }
}

impl Flaw {
    /// What is wrong with the object under `key`; `None` if a gateway can use it.
    pub fn of(key: &Key, object: &[u8]) -> Option<Self> {
        match Entry::from_object(key, object) {
            Ok(_) => None,
            Err(ObjectFault::Misplaced) => Some(
                ObjectHead::read(object)
                    .map_or(Self::Altered, |(head, _)| Self::Misplaced(head.key)),
            ),
            Err(ObjectFault::Damaged) => Some(Self::of_damaged(object)),
        }
    }

    fn of_damaged(object: &[u8]) -> Self {
        let found = object.len() as u64;
        match (ObjectHead::read(object), object.get(..4)) {
            (Some((head, _)), _) if head.object_bytes() != found => Self::Length {
                wanted: head.object_bytes(),
                found,
            },
            (Some(_), _) => Self::Altered,
            (None, Some(magic)) if magic == FLOATS || magic == HALVES => match object.len() {
                short if short < HEAD_BYTES => Self::CutOff(found),
                _ => Self::Altered,
            },
            (None, Some(magic)) if magic.starts_with(FAMILY) => Self::UnknownFormat,
            (None, _) => Self::Foreign,
        }
    }
}
