//! A stored object that can be read carries exactly the vector that was written, under its key.

use embedding_gateway::embeddings::entry::Entry;
use embedding_gateway::embeddings::key::Key;
use embedding_gateway::embeddings::object::ObjectFault;
use embedding_gateway::embeddings::vector::{Vector, is_sound};
use sha2::{Digest, Sha256};

/// Where the key stands in an object.
const KEY: std::ops::Range<usize> = 4..36;

/// Reads `data` as an object, as one without its checksum, and as a vector to be written.
pub fn check(data: &[u8]) {
    let key = match data.get(KEY).and_then(|key| <[u8; 32]>::try_from(key).ok()) {
        Some(key) => key.into(),
        None => Key::from([7; 32]),
    };
    reads_as_written(&key, data);
    let sealed = [data, &Sha256::digest(data)].concat();
    reads_as_written(&key, &sealed);
    let (vector, described) = match data.split_first() {
        Some((&at, rest)) => rest.split_at(rest.len() * usize::from(at) / 255 / 4 * 4),
        None => (data, data),
    };
    writes_what_it_reads(&key, vector, described);
}

fn reads_as_written(key: &Key, object: &[u8]) {
    let Ok(entry) = Entry::from_object(key, object) else {
        return;
    };
    assert!(entry.vector.is_sound());
    let again = Entry::from_object(key, &entry.to_object(key));
    assert_eq!(again.as_ref(), Ok(&entry));
    let mut other = *key.as_bytes();
    other[0] ^= 1;
    let misplaced = Entry::from_object(&other.into(), object);
    assert_eq!(misplaced, Err(ObjectFault::Misplaced));
}

fn writes_what_it_reads(key: &Key, vector: &[u8], described: &[u8]) {
    if !is_sound(vector) {
        return;
    }
    let model = String::from_utf8_lossy(&described[..described.len().min(300)]);
    let number = described
        .iter()
        .fold(0_u64, |sum, &byte| sum.rotate_left(8) ^ u64::from(byte));
    let entry = Entry {
        model: model.into(),
        tokens: number as u32,
        created_ms: number,
        vector: Vector::new(vector.to_vec()),
    };
    let mut kept = Vec::new();
    entry
        .vector
        .each_chunk(|chunk| kept.extend_from_slice(chunk));
    assert_eq!(kept, vector, "every bit of it");
    let mut object = entry.to_object(key);
    assert_eq!(Entry::from_object(key, &object), Ok(entry));
    let place = number as usize % object.len();
    object[place] ^= 1 << (number % 8);
    assert_eq!(Entry::from_object(key, &object), Err(ObjectFault::Damaged));
}
