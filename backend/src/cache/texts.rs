//! Answers with one vector that clients ask for again and again: to write one takes longer than all
//! else of a hit, and one that is kept is sent without a copy. Its list of decimals stands in the
//! answers with several vectors, too: to copy a list takes a tenth of the time that it takes to
//! write it.
//!
//! An answer belongs to one entry and not to its key, so a newer vector never gets an older one's.

use std::hash::{BuildHasher, RandomState};
use std::ops::Range;
use std::slice::from_ref;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use bytes::Bytes;
use quick_cache::Weighter;
use quick_cache::sync::Cache;

use super::memory::{weight, weight_of};
use crate::embeddings::entry::Entry;
use crate::embeddings::request::Encoding;
use crate::embeddings::response::{KeptAnswers, frame_of_one, push_list, write_answer};

/// A list of 1,536 numbers and its vector.
const USUAL_BYTES: u64 = 28 * 1024;

/// How many answers are remembered as asked for once.
const REMEMBERED: usize = 4096;

/// The answers, bounded in bytes.
#[derive(Debug)]
pub struct Texts {
    kept: Cache<Name, Arc<Text>, TextWeight>,
    /// Names of answers that were written once; each may take the place of another one.
    written: Box<[AtomicUsize]>,
    hasher: RandomState,
}

/// An entry's address, which is even, and one more if the vector is in base64.
type Name = usize;

/// Holds its entry, so that no other entry can come to have the same address.
#[derive(Debug)]
struct Text {
    entry: Arc<Entry>,
    answer: Bytes,
    /// Where the vector stands in it.
    vector: Range<usize>,
}

#[derive(Clone, Debug)]
struct TextWeight;

impl Weighter<Name, Arc<Text>> for TextWeight {
    fn weight(&self, _: &Name, text: &Arc<Text>) -> u64 {
        weight_of(text.answer.len()) + weight(&text.entry)
    }
}

impl Texts {
    /// Answers of at most `bytes`, with their entries.
    pub fn new(bytes: u64) -> Self {
        let usual_count = usize::try_from(bytes / USUAL_BYTES).unwrap_or(usize::MAX);
        Self {
            kept: Cache::with_weighter(usual_count.max(1), bytes, TextWeight),
            written: (0..REMEMBERED).map(|_| AtomicUsize::new(0)).collect(),
            hasher: RandomState::new(),
        }
    }

    /// The bytes that all answers take.
    pub fn bytes(&self) -> u64 {
        self.kept.weight()
    }

    /// The bytes that they may take.
    pub fn limit_bytes(&self) -> u64 {
        self.kept.capacity()
    }

    /// Whether this answer was written before. Most are written once, and are not worth keeping.
    fn was_written(&self, name: Name) -> bool {
        let place = self.hasher.hash_one(name) as usize % REMEMBERED;
        self.written[place].swap(name, Relaxed) == name
    }

    /// Keeps the answer with this vector, as it was written.
    fn keep(&self, name: Name, entry: &Arc<Entry>, vector: &[u8]) {
        let (before, after) = frame_of_one(entry);
        let text = Text {
            entry: Arc::clone(entry),
            answer: [&before[..], vector, &after[..]].concat().into(),
            vector: before.len()..before.len() + vector.len(),
        };
        self.kept.insert(name, Arc::new(text));
    }
}

impl KeptAnswers for Texts {
    fn answer(&self, entry: &Arc<Entry>, encoding: Encoding) -> Bytes {
        let name = name(entry, encoding);
        if let Some(text) = self.kept.get(&name) {
            return text.answer.clone();
        }
        let body = write_answer(from_ref(entry), &[0], encoding, None);
        if self.was_written(name) {
            let (before, after) = frame_of_one(entry);
            self.keep(name, entry, &body[before.len()..body.len() - after.len()]);
        }
        body.into()
    }

    fn push_list(&self, body: &mut Vec<u8>, entry: &Arc<Entry>) {
        let name = name(entry, Encoding::Float);
        if let Some(text) = self.kept.get(&name) {
            body.extend_from_slice(&text.answer[text.vector.clone()]);
            return;
        }
        let begin = body.len();
        push_list(body, entry);
        if self.was_written(name) {
            self.keep(name, entry, &body[begin..]);
        }
    }
}

fn name(entry: &Arc<Entry>, encoding: Encoding) -> Name {
    let address = Arc::as_ptr(entry).addr();
    match encoding {
        Encoding::Float => address,
        Encoding::Base64 => address | 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(first: f32) -> Arc<Entry> {
        let numbers = (0..100_u8).map(|n| first + f32::from(n));
        Arc::new(Entry {
            model: "m".into(),
            tokens: 1,
            created_ms: 0,
            vector: numbers.collect(),
        })
    }

    fn written(entry: &Arc<Entry>) -> Vec<u8> {
        let mut body = Vec::new();
        push_list(&mut body, entry);
        body
    }

    fn list(texts: &Texts, entry: &Arc<Entry>) -> Vec<u8> {
        let mut body = b"before".to_vec();
        texts.push_list(&mut body, entry);
        body.split_off(b"before".len())
    }

    fn answer(entry: &Arc<Entry>, encoding: Encoding) -> Vec<u8> {
        write_answer(from_ref(entry), &[0], encoding, None)
    }

    #[test]
    fn an_answer_is_kept_from_the_second_time_on_and_sent_without_a_copy() {
        let texts = Texts::new(1 << 20);
        let entry = entry(0.5);
        for encoding in [Encoding::Float, Encoding::Base64] {
            let sent: Vec<Bytes> = (0..4).map(|_| texts.answer(&entry, encoding)).collect();
            assert!(sent.iter().all(|sent| *sent == answer(&entry, encoding)));
            assert_ne!(sent[0].as_ptr(), sent[2].as_ptr());
            assert_eq!(sent[2].as_ptr(), sent[3].as_ptr());
        }
    }

    #[test]
    fn lists_and_answers_are_made_of_each_other() {
        for list_first in [true, false] {
            let texts = Texts::new(1 << 20);
            let entry = entry(0.25);
            for round in 0..6 {
                match list_first == (round < 3) {
                    true => assert_eq!(list(&texts, &entry), written(&entry)),
                    false => {
                        let expected = answer(&entry, Encoding::Float);
                        assert_eq!(texts.answer(&entry, Encoding::Float), expected);
                    }
                }
            }
            let both = texts.bytes();
            assert_eq!(
                both,
                weight_of(answer(&entry, Encoding::Float).len()) + weight(&entry)
            );
        }
    }

    #[test]
    fn a_list_is_kept_from_the_second_time_on_and_is_always_the_same() {
        let texts = Texts::new(1 << 20);
        let entry = entry(0.5);
        for kept in [false, true, true] {
            assert_eq!(list(&texts, &entry), written(&entry));
            assert_eq!(texts.bytes() > 0, kept);
        }
    }

    #[test]
    fn an_entry_never_gets_the_list_of_another_one() {
        let texts = Texts::new(1 << 20);
        for round in 0..2000_u16 {
            // Dropped at the end of each round, unless its list is kept: addresses come again.
            let entry = entry(f32::from(round));
            for _ in 0..round % 3 + 1 {
                assert_eq!(list(&texts, &entry), written(&entry), "{round}");
            }
        }
    }

    #[test]
    fn lists_never_outgrow_their_bound() {
        let texts = Texts::new(64 * 1024);
        let entries: Vec<_> = (0..200_u8).map(|n| entry(f32::from(n))).collect();
        for _ in 0..3 {
            for entry in &entries {
                assert_eq!(list(&texts, entry), written(entry));
                assert!(texts.bytes() <= 64 * 1024);
            }
        }
        assert!(texts.bytes() > 32 * 1024);
    }

    #[test]
    fn without_room_nothing_is_kept() {
        let texts = Texts::new(0);
        let entry = entry(1.5);
        for _ in 0..3 {
            assert_eq!(list(&texts, &entry), written(&entry));
        }
        assert_eq!(texts.bytes(), 0);
    }
}
