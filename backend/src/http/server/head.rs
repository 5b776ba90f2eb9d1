//! The head of an HTTP/1 request as it came. hyper drops a `Content-Length` beside
//! `Transfer-Encoding` without a word to the service: what an intermediary in front went by, and
//! hyper did not, can hide a second request (RFC 9112, 6.1).

use std::sync::{Mutex, MutexGuard, PoisonError};

use memchr::memmem;

/// No longer head is looked at.
const MOST: usize = 64 << 10;

const END: &[u8] = b"\r\n\r\n";

/// A connection keeps so much for its next request.
const KEPT: usize = 4 << 10;

/// Marks a request whose length `Content-Length` and `Transfer-Encoding` both say.
#[derive(Clone, Copy, Debug)]
pub struct TwoLengths;

/// What a connection read of the request to come.
#[derive(Debug, Default)]
pub(super) struct HeadBytes(Mutex<Received>);

#[derive(Debug, Default)]
struct Received {
    bytes: Vec<u8>,
    /// A request is running: what comes now is its body.
    is_over: bool,
}

impl HeadBytes {
    /// Notes what was read.
    pub(super) fn note(&self, read: &[u8]) {
        let mut state = self.state();
        if !state.is_over {
            let room = MOST - state.bytes.len();
            state.bytes.extend_from_slice(&read[..read.len().min(room)]);
        }
    }

    /// Ends the head of a request whose body is so long; `None` is a body in chunks. Returns whether
    /// such a request names a `Content-Length`, too.
    pub(super) fn end(&self, body: Option<u64>) -> bool {
        let mut state = self.state();
        state.is_over = true;
        // Blank lines may stand before a request (RFC 9112, 2.2).
        let blank = |byte: &&u8| matches!(byte, b'\r' | b'\n');
        let begins = state.bytes.iter().take_while(blank).count();
        let end = memmem::find(&state.bytes[begins..], END).map(|at| begins + at + END.len());
        let end = end.unwrap_or(state.bytes.len());
        let mut lines = state.bytes[..end].split(|&byte| byte == b'\n');
        let has_length = body.is_none() && lines.any(is_length);
        let rest = state.bytes.len() - end;
        let body = body.map_or(rest, |body| rest.min(usize::try_from(body).unwrap_or(rest)));
        state.bytes.drain(..end + body);
        state.bytes.shrink_to(KEPT);
        has_length
    }

    /// From now on the next head may come.
    pub(super) fn begin(&self) {
        self.state().is_over = false;
    }

    fn state(&self) -> MutexGuard<'_, Received> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_length(line: &[u8]) -> bool {
    let name = line.split(|&byte| byte == b':').next().unwrap_or_default();
    name.trim_ascii().eq_ignore_ascii_case(b"content-length")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_is_found_in_its_own_head_alone() {
        let head = HeadBytes::default();
        let next = |read: &[&[u8]]| {
            head.begin();
            read.iter().for_each(|piece| head.note(piece));
        };
        let chunked = b"POST / HTTP/1.1\r\ncontent-LENGTH : 5\r\n\r\n";
        next(&[b"\r\n\r\n", &chunked[..20], &chunked[20..]]);
        assert!(head.end(None));
        next(&[b"POST / HTTP/1.1\r\n\r\ncontent-length: 5\r\n"]);
        assert!(!head.end(None));
        // Together with the request before it.
        next(&[b"POST / HTTP/1.1\r\ncontent-length: 3\r\n\r\nabc", chunked]);
        assert!(!head.end(Some(3)));
        assert!(head.end(None));
        next(&[b"POST / HTTP/1.1\ncontent-length:1\n\n1\r\n"]);
        assert!(head.end(None));
        next(&[b"GET / HTTP/1.1\r\n\r\n"]);
        assert!(!head.end(Some(0)));
        assert!(head.state().bytes.is_empty());
    }

    #[test]
    fn it_holds_no_more_than_it_may() {
        let head = HeadBytes::default();
        (0..100).for_each(|_| head.note(&[b'x'; 4096]));
        assert_eq!(head.state().bytes.len(), MOST);
        head.end(None);
        assert!(head.state().bytes.capacity() <= KEPT);
        head.note(b"a body");
        assert!(head.state().bytes.is_empty());
    }
}
