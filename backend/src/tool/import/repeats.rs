//! Finds inputs that a file holds twice, in bounded memory: what it notes of each goes to one of
//! several temporary files, by its key, once it is too much.

use std::collections::HashMap;
use std::collections::hash_map::Entry::{Occupied, Vacant};
use std::fs::File;
use std::io::{self, BufWriter, Read, Seek, Write};

use crate::embeddings::key::Key;

/// What is noted of one record: its key, its numbers' digest, its line.
type Note = [u8; NOTE_BYTES];

const NOTE_BYTES: usize = KEY_BYTES + DIGEST_BYTES + 8;
const KEY_BYTES: usize = 32;
/// As much of a digest as no chance makes equal.
const DIGEST_BYTES: usize = 16;

/// Notes that are kept in memory: 28 MiB.
const IN_MEMORY: usize = 1 << 19;

/// Of a hundred million records, one has 22 MiB of notes.
const PARTS: usize = 256;

/// All records so far.
#[derive(Debug)]
pub(super) struct Repeats {
    notes: Vec<Note>,
    parts: Vec<BufWriter<File>>,
    in_memory: usize,
}

impl Default for Repeats {
    fn default() -> Self {
        Self::within(IN_MEMORY)
    }
}

impl Repeats {
    fn within(in_memory: usize) -> Self {
        Self {
            notes: Vec::new(),
            parts: Vec::new(),
            in_memory,
        }
    }

    /// Notes a record.
    pub(super) fn note(&mut self, key: &Key, digest: &[u8; 32], line: u64) -> io::Result<()> {
        if self.notes.len() == self.in_memory {
            self.spill()?;
        }
        let mut note = [0; NOTE_BYTES];
        note[..KEY_BYTES].copy_from_slice(key.as_bytes());
        note[KEY_BYTES..][..DIGEST_BYTES].copy_from_slice(&digest[..DIGEST_BYTES]);
        note[KEY_BYTES + DIGEST_BYTES..].copy_from_slice(&line.to_le_bytes());
        self.notes.push(note);
        Ok(())
    }

    fn spill(&mut self) -> io::Result<()> {
        while self.parts.len() < PARTS {
            // Without a name: it is gone with the process.
            self.parts.push(BufWriter::new(tempfile::tempfile()?));
        }
        for note in self.notes.drain(..) {
            self.parts[usize::from(note[0])].write_all(&note)?;
        }
        Ok(())
    }

    /// Tells of each line whose input stood before with other numbers: the first line and this one.
    /// Returns how many lines only repeat another one.
    pub(super) fn check(mut self, mut differs: impl FnMut(u64, u64)) -> io::Result<u64> {
        if self.parts.is_empty() {
            return Ok(compare(&self.notes, &mut differs));
        }
        self.spill()?;
        let mut repeats = 0;
        for part in self.parts {
            let mut file = part.into_inner().map_err(|error| error.into_error())?;
            file.rewind()?;
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes)?;
            let (notes, _) = bytes.as_chunks();
            repeats += compare(notes, &mut differs);
        }
        Ok(repeats)
    }
}

fn compare(notes: &[Note], differs: &mut impl FnMut(u64, u64)) -> u64 {
    let mut first: HashMap<_, (&[u8], u64)> = HashMap::with_capacity(notes.len());
    let mut repeats = 0;
    for note in notes {
        let (key, rest) = note.split_at(KEY_BYTES);
        let (digest, line) = rest.split_at(DIGEST_BYTES);
        let line = line.try_into().map_or(0, u64::from_le_bytes);
        match first.entry(key) {
            Vacant(place) => {
                place.insert((digest, line));
            }
            Occupied(before) if before.get().0 == digest => repeats += 1,
            Occupied(before) => differs(before.get().1, line),
        }
    }
    repeats
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeats_are_found_in_memory_and_beyond_it() {
        for in_memory in [1000, 7] {
            let mut repeats = Repeats::within(in_memory);
            let mut note = |key: u8, digest: u8, line| {
                let mut bytes = [key; 32];
                bytes[0] = key.wrapping_mul(97);
                repeats.note(&bytes.into(), &[digest; 32], line).unwrap();
            };
            for line in 1..=100 {
                note(u8::try_from(line).unwrap(), 0, line);
            }
            note(17, 0, 101);
            note(17, 1, 102);
            note(3, 0, 103);
            let mut differing = Vec::new();
            let count = repeats.check(|first, second| differing.push((first, second)));
            assert_eq!((count.unwrap(), differing), (2, vec![(17, 102)]));
        }
    }
}
