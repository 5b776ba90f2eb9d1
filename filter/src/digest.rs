//! The SHA-256 of a body that arrives in pieces.
//!
//! A [`BodyHasher`] keeps the state of the hash and a count, never the body, and refuses to read
//! past its cap.

use sha2::{Digest as _, Sha256};

use crate::stats::{Outcome, Reason};

/// The most that is copied out of Envoy at once, so that wasm memory does not follow the size of
/// a body. A read of Envoy's from a socket is seldom larger.
const PIECE_BYTES: usize = 64 * 1024;

/// Body bytes that Envoy holds at this moment.
pub trait Body {
    /// A copy of `len` bytes from `start` on; shorter or `None` when Envoy has less.
    fn read(&self, start: usize, len: usize) -> Option<Vec<u8>>;
}

/// The SHA-256 of a whole body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Digest([u8; 32]);

impl Digest {
    /// 64 lower-case hexadecimal digits: the value of the header.
    #[must_use]
    pub fn to_hex(self) -> String {
        let digit = |nibble: u8| char::from_digit(u32::from(nibble), 16).unwrap_or('0');
        self.0
            .iter()
            .flat_map(|byte| [digit(byte >> 4), digit(byte & 0xf)])
            .collect()
    }
}

/// A hash in progress.
#[derive(Clone, Debug)]
pub struct BodyHasher {
    state: Sha256,
    seen: u64,
    cap: u64,
}

impl BodyHasher {
    /// A hasher for a body of at most `cap` bytes.
    #[must_use]
    pub fn new(cap: u64) -> Self {
        Self {
            state: Sha256::new(),
            seen: 0,
            cap,
        }
    }

    /// The bytes hashed so far.
    #[must_use]
    pub const fn seen(&self) -> u64 {
        self.seen
    }

    /// Hashes `len` bytes of `body` from `start` on.
    ///
    /// # Errors
    /// [`Reason::TooLarge`] before anything is copied when the body outgrows the cap,
    /// [`Reason::Aborted`] when `body` holds fewer bytes than promised: a hash of half a body
    /// must never reach a header.
    pub fn absorb(&mut self, body: &impl Body, start: usize, len: usize) -> Result<(), Reason> {
        if self.seen.saturating_add(len as u64) > self.cap {
            return Err(Reason::TooLarge);
        }
        let mut done = 0;
        while done < len {
            let want = (len - done).min(PIECE_BYTES);
            let piece = body
                .read(start.saturating_add(done), want)
                .unwrap_or_default();
            if piece.len() != want {
                return Err(Reason::Aborted);
            }
            self.state.update(&piece);
            done += want;
        }
        self.seen += len as u64;
        Ok(())
    }

    /// The end of the body. A body without a byte has no digest.
    #[must_use]
    pub fn finish(self) -> Outcome {
        if self.seen == 0 {
            Outcome::Skipped(Reason::NoBody)
        } else {
            Outcome::Hashed(Digest(self.state.finalize().into()))
        }
    }
}
