//! The SHA-256 of a body that arrives in pieces.
//!
//! A [`BodyHasher`] keeps the state of the hash and a count, never the body, and refuses to read past its cap.

use sha2::{Digest as _, Sha256};

/// The most that [`BodyHasher::absorb`] copies out of the proxy at once, so that memory does not follow the size of a
/// body. Envoy seldom reads more from a socket.
const PIECE_BYTES: usize = 64 * 1024;

/// Body bytes that the proxy holds at this moment.
pub trait HeldBody {
    /// A copy of `len` bytes from `start` on; shorter or `None` when the proxy has less.
    fn read(&self, start: usize, len: usize) -> Option<Vec<u8>>;
}

/// Why a hasher stopped: a hash of half a body must never reach a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Incomplete {
    /// The body outgrew the cap.
    OverCap,
    /// The proxy held fewer bytes than it had promised.
    Missing,
}

/// The SHA-256 of a whole body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Digest([u8; 32]);

impl Digest {
    /// 64 lower-case hexadecimal digits: the value of the header.
    #[must_use]
    pub fn to_hex(self) -> [u8; 64] {
        let mut digits = [0; 64];
        let nibbles = self.0.iter().flat_map(|byte| [byte >> 4, byte & 0xf]);
        for (digit, nibble) in digits.iter_mut().zip(nibbles) {
            *digit = if nibble < 10 { b'0' } else { b'a' - 10 } + nibble;
        }
        digits
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

    /// Hashes bytes that the proxy lends: no copy.
    ///
    /// # Errors
    /// [`Incomplete::OverCap`] when the body outgrows the cap; then nothing is hashed.
    pub fn update(&mut self, piece: &[u8]) -> Result<(), Incomplete> {
        let seen = self.seen_after(piece.len())?;
        self.state.update(piece);
        self.seen = seen;
        Ok(())
    }

    /// Hashes `len` bytes of `body` from `start` on, copied in pieces.
    ///
    /// # Errors
    /// [`Incomplete::OverCap`] when the body outgrows the cap; then nothing is copied.
    /// [`Incomplete::Missing`] when `body` holds fewer bytes than promised.
    pub fn absorb(
        &mut self,
        body: &impl HeldBody,
        start: usize,
        len: usize,
    ) -> Result<(), Incomplete> {
        self.seen_after(len)?;
        let mut done = 0;
        while done < len {
            let want = (len - done).min(PIECE_BYTES);
            let piece = body
                .read(start.saturating_add(done), want)
                .unwrap_or_default();
            if piece.len() != want {
                return Err(Incomplete::Missing);
            }
            self.update(&piece)?;
            done += want;
        }
        Ok(())
    }

    /// The end of the body. A body without a byte has no digest.
    #[must_use]
    pub fn finish(self) -> Option<Digest> {
        (self.seen > 0).then(|| Digest(self.state.finalize().into()))
    }

    fn seen_after(&self, more: usize) -> Result<u64, Incomplete> {
        let seen = self.seen.saturating_add(more as u64);
        if seen > self.cap {
            Err(Incomplete::OverCap)
        } else {
            Ok(seen)
        }
    }
}
