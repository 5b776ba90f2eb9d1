//! A large answer, piece by piece.
//!
//! A short request can ask for a very long answer: an input that a client repeats thousands of
//! times has one vector, written out thousands of times. Each piece is written when the client has
//! room for it, so a client that reads slowly holds one piece, and vectors that others share.

use std::sync::Arc;

use base64_simd::STANDARD;

use super::super::decimal;
use super::super::entry::Entry;
use super::super::request::Encoding;
use super::super::vector::Vector;
use super::{FRAME_BYTES, PIECE_BYTES, item_capacity, push_head, push_item, push_tail};

/// What is left of an answer.
#[derive(Debug)]
pub struct Pieces {
    entries: Vec<Arc<Entry>>,
    places: Vec<usize>,
    encoding: Encoding,
    /// The next place to write.
    next: usize,
    ended: bool,
    /// The bytes that are left, if the encoding fixes them.
    length: Option<u64>,
}

impl Pieces {
    /// The pieces of the answer that [`super::write_answer`] would write.
    pub fn new(entries: Vec<Arc<Entry>>, places: Vec<usize>, encoding: Encoding) -> Self {
        let length = length(&entries, &places, encoding);
        Self {
            entries,
            places,
            encoding,
            next: 0,
            ended: false,
            length,
        }
    }

    /// How many bytes are left, if the encoding fixes them.
    pub fn length(&self) -> Option<u64> {
        self.length
    }

    /// Whether nothing is left.
    pub fn is_ended(&self) -> bool {
        self.ended
    }

    /// Writes as many items as fit into a piece, but one at least.
    fn write(&mut self) -> Vec<u8> {
        let begin = self.next;
        let mut room = FRAME_BYTES + decimal::SLACK;
        for &place in &self.places[begin..] {
            let more = item_capacity(&self.entries[place], self.encoding);
            if self.next > begin && room + more > PIECE_BYTES {
                break;
            }
            room += more;
            self.next += 1;
        }
        let mut piece = Vec::with_capacity(room);
        if begin == 0 {
            push_head(&mut piece);
        }
        for index in begin..self.next {
            let vector = &self.entries[self.places[index]].vector;
            push_item(&mut piece, index, vector, self.encoding);
        }
        if self.next == self.places.len() {
            push_tail(&mut piece, &self.entries, &self.places);
            self.ended = true;
        }
        self.length = self.length.map(|left| left - piece.len() as u64);
        piece
    }
}

impl Iterator for Pieces {
    type Item = Vec<u8>;

    fn next(&mut self) -> Option<Vec<u8>> {
        (!self.ended).then(|| self.write())
    }
}

/// The length of an answer, if it does not depend on the numbers.
fn length(entries: &[Arc<Entry>], places: &[usize], encoding: Encoding) -> Option<u64> {
    match encoding {
        Encoding::Float => return None,
        Encoding::Base64 => {}
    }
    let mut frame = Vec::with_capacity(FRAME_BYTES);
    push_head(&mut frame);
    push_tail(&mut frame, entries, places);
    let mut length = frame.len();
    for (index, &place) in places.iter().enumerate() {
        frame.clear();
        push_item(&mut frame, index, &Vector::default(), encoding);
        length += frame.len() + STANDARD.encoded_length(entries[place].vector.float_bytes());
    }
    Some(length as u64)
}

#[cfg(test)]
mod tests {
    use super::super::write_answer;
    use super::*;

    fn entry(dimensions: u16) -> Arc<Entry> {
        let numbers = (1..=dimensions).map(|n| (f32::from(n)).sin());
        Arc::new(Entry {
            model: "m".into(),
            tokens: 7,
            created_ms: 0,
            vector: numbers.collect(),
        })
    }

    fn pieces(places: &[usize], encoding: Encoding) -> (Vec<Vec<u8>>, Vec<u8>) {
        let entries = vec![entry(1536), entry(3), entry(40_000)];
        let whole = write_answer(&entries, places, encoding, None);
        let pieces = Pieces::new(entries, places.to_vec(), encoding);
        (pieces.collect(), whole)
    }

    #[test]
    fn together_they_are_the_answer() {
        let many: Vec<usize> = (0..500).map(|n| n % 2).collect();
        for places in [&many[..], &many[..1], &[2, 2, 0], &[1, 2], &[]] {
            for encoding in [Encoding::Float, Encoding::Base64] {
                let (pieces, whole) = pieces(places, encoding);
                assert!(pieces.concat() == whole, "{} places", places.len());
            }
        }
    }

    #[test]
    fn none_is_larger_than_it_may_be_and_few_are_much_smaller() {
        for encoding in [Encoding::Float, Encoding::Base64] {
            let (pieces, _) = pieces(&[0; 1000], encoding);
            let (last, others) = pieces.split_last().unwrap();
            assert!(last.len() <= PIECE_BYTES);
            assert!(others.len() > 10);
            for piece in others {
                assert!((PIECE_BYTES / 2..=PIECE_BYTES).contains(&piece.len()));
            }
        }
    }

    #[test]
    fn in_base64_what_is_left_is_known() {
        let mut pieces = Pieces::new(vec![entry(1536)], vec![0; 1000], Encoding::Base64);
        while let Some(left) = pieces.length().filter(|&left| left > 0) {
            let piece = pieces.next().unwrap();
            assert_eq!(pieces.length(), Some(left - piece.len() as u64));
        }
        assert_eq!((pieces.length(), pieces.next()), (Some(0), None));
    }
}
