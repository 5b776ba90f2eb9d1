//! The hash of a body does not depend on how it arrives, and half a body has none.

use std::cell::Cell;

use body_hash_core::digest::{BodyHasher, Digest, HeldBody, Incomplete};
use proptest::collection::vec;
use proptest::prelude::*;

/// A body that remembers the largest piece that was asked of it.
#[derive(Default)]
struct Bytes {
    all: Vec<u8>,
    largest: Cell<usize>,
    /// Bytes that Envoy promised and does not have.
    missing: usize,
}

impl HeldBody for Bytes {
    fn read(&self, start: usize, len: usize) -> Option<Vec<u8>> {
        self.largest.set(self.largest.get().max(len));
        let end = (start + len).min(self.all.len() - self.missing);
        self.all.get(start..end).map(<[u8]>::to_vec)
    }
}

fn body(all: &[u8]) -> Bytes {
    Bytes {
        all: all.to_vec(),
        ..Bytes::default()
    }
}

fn hex(digest: Digest) -> String {
    digest.to_hex().map(char::from).iter().collect()
}

fn hash_of(bytes: &[u8]) -> String {
    let mut hasher = BodyHasher::new(u64::MAX);
    assert_eq!(hasher.absorb(&body(bytes), 0, bytes.len()), Ok(()));
    hasher.finish().map(hex).unwrap_or_default()
}

/// FIPS 180-4, examples of NIST.
#[test]
fn the_published_examples_come_out() {
    assert_eq!(
        hash_of(b"abc"),
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    );
    assert_eq!(
        hash_of(b"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"),
        "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"
    );
    assert_eq!(
        hash_of(&vec![b'a'; 1_000_000]),
        "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"
    );
}

#[test]
fn a_body_without_a_byte_has_no_digest() {
    assert_eq!(BodyHasher::new(1).finish(), None);
}

#[test]
fn the_cap_is_the_longest_body_and_one_byte_more_is_never_read() {
    let mut hasher = BodyHasher::new(4);
    assert_eq!(hasher.absorb(&body(b"1234"), 0, 4), Ok(()));
    let more = body(b"5");
    assert_eq!(hasher.absorb(&more, 0, 1), Err(Incomplete::OverCap));
    assert_eq!(more.largest.get(), 0);
    assert_eq!(
        BodyHasher::new(4).absorb(&body(b"12345"), 0, 5),
        Err(Incomplete::OverCap)
    );
}

#[test]
fn lent_bytes_count_like_copied_ones() {
    let mut hasher = BodyHasher::new(4);
    assert_eq!(hasher.update(b"ab"), Ok(()));
    assert_eq!(hasher.update(b"abc"), Err(Incomplete::OverCap));
    assert_eq!(hasher.update(b"c"), Ok(()));
    let digest = hasher.finish().map(hex);
    assert_eq!(digest, Some(hash_of(b"abc")));
}

#[test]
fn a_body_shorter_than_promised_is_given_up() {
    let short = Bytes {
        missing: 1,
        ..body(&[7; 100_000])
    };
    assert_eq!(
        BodyHasher::new(u64::MAX).absorb(&short, 0, 100_000),
        Err(Incomplete::Missing)
    );
}

#[test]
fn a_large_chunk_is_copied_in_bounded_pieces() {
    let large = body(&vec![1; 3_000_000]);
    assert_eq!(
        BodyHasher::new(u64::MAX).absorb(&large, 0, 3_000_000),
        Ok(())
    );
    assert_eq!(large.largest.get(), 64 * 1024);
}

proptest! {
    // Unoptimised SHA-256 is slow; the bodies must be longer than one piece.
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn any_chunking_gives_the_digest_of_the_whole(
        bytes in vec(any::<u8>(), 1..150_000),
        cuts in vec(any::<prop::sample::Index>(), 0..20),
    ) {
        let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(bytes.len())).collect();
        cuts.extend([0, bytes.len()]);
        cuts.sort_unstable();
        let mut hasher = BodyHasher::new(bytes.len() as u64);
        let whole = body(&bytes);
        for ends in cuts.windows(2) {
            prop_assert_eq!(hasher.absorb(&whole, ends[0], ends[1] - ends[0]), Ok(()));
        }
        prop_assert_eq!(hasher.finish().map(hex), Some(hash_of(&bytes)));
    }
}
