//! The head of an HTTP/1 request as it came, and how much of its body is still to come. hyper drops
//! a `Content-Length` beside `Transfer-Encoding` without a word to the service: what an intermediary
//! in front went by, and hyper did not, can hide a second request (RFC 9112, 6.1).

use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use memchr::memmem::Finder;

/// No longer head is looked at.
const MOST: usize = 64 << 10;

const END: &[u8] = b"\r\n\r\n";

/// To prepare a search takes longer than to search a head.
static FIND_END: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(END));

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
    /// So many bytes came, those among them that are not kept.
    count: usize,
    /// A request is running: what comes now is its body.
    is_over: bool,
    body: ToCome,
}

/// What a client has yet to send of the request that is running.
#[derive(Debug, Default)]
enum ToCome {
    /// Not known: the connection is one of HTTP/2.
    #[default]
    Unknown,
    Bytes(u64),
    /// Chunks, which end with two line ends (RFC 9112, 7.1). These are the latest bytes of them.
    Chunks([u8; END.len()]),
}

impl ToCome {
    fn take(&mut self, read: &[u8]) {
        match self {
            Self::Unknown => {}
            Self::Bytes(left) => *left = left.saturating_sub(read.len() as u64),
            Self::Chunks(latest) => {
                let fresh = &read[read.len().saturating_sub(latest.len())..];
                latest.rotate_left(fresh.len());
                latest[END.len() - fresh.len()..].copy_from_slice(fresh);
            }
        }
    }

    fn is_nothing(&self) -> bool {
        match self {
            Self::Unknown => false,
            Self::Bytes(left) => *left == 0,
            Self::Chunks(latest) => latest == END,
        }
    }
}

/// How the body of a request is framed.
#[derive(Clone, Copy, Debug)]
pub(super) enum Framing {
    Length(u64),
    Chunks,
    Http2,
}

impl HeadBytes {
    /// Notes what was read.
    pub(super) fn note(&self, read: &[u8]) {
        let mut state = self.state();
        if state.is_over {
            state.body.take(read);
        } else {
            let room = MOST - state.bytes.len();
            state.bytes.extend_from_slice(&read[..read.len().min(room)]);
            state.count += read.len();
        }
    }

    /// Ends the head of a request whose body is framed so. Returns whether one in chunks names a
    /// `Content-Length`, too.
    pub(super) fn end(&self, framing: Framing) -> bool {
        let mut state = self.state();
        state.is_over = true;
        // Blank lines may stand before a request (RFC 9112, 2.2).
        let blank = |byte: &&u8| matches!(byte, b'\r' | b'\n');
        let begins = state.bytes.iter().take_while(blank).count();
        let end = FIND_END.find(&state.bytes[begins..]);
        let end = end.map(|at| begins + at + END.len());
        let end = end.unwrap_or(state.bytes.len());
        let mut lines = state.bytes[..end].split(|&byte| byte == b'\n');
        let has_length = matches!(framing, Framing::Chunks) && lines.any(is_length);
        state.begin_body(framing, end);
        state.bytes.shrink_to(KEPT);
        has_length
    }

    /// Whether a request is running that the client has sent to its end.
    pub(super) fn is_whole(&self) -> bool {
        let state = self.state();
        state.is_over && state.body.is_nothing()
    }

    /// From now on the next head may come.
    pub(super) fn begin(&self) {
        self.state().is_over = false;
    }

    fn state(&self) -> MutexGuard<'_, Received> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Received {
    /// Takes the head, which ends there, and what came of the body with it.
    fn begin_body(&mut self, framing: Framing, head: usize) {
        let rest = self.bytes.len() - head;
        let taken = match framing {
            Framing::Length(length) => rest.min(usize::try_from(length).unwrap_or(rest)),
            Framing::Chunks | Framing::Http2 => rest,
        };
        self.body = match framing {
            Framing::Length(length) => {
                ToCome::Bytes(length.saturating_sub((self.count - head) as u64))
            }
            Framing::Chunks => ToCome::Chunks(Default::default()),
            Framing::Http2 => ToCome::Unknown,
        };
        if let ToCome::Chunks(_) = self.body {
            self.body.take(&self.bytes[head..]);
        }
        self.bytes.drain(..head + taken);
        self.count = self.bytes.len();
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
        assert!(head.end(Framing::Chunks));
        next(&[b"POST / HTTP/1.1\r\n\r\ncontent-length: 5\r\n"]);
        assert!(!head.end(Framing::Chunks));
        // Together with the request before it.
        next(&[b"POST / HTTP/1.1\r\ncontent-length: 3\r\n\r\nabc", chunked]);
        assert!(!head.end(Framing::Length(3)));
        assert!(head.end(Framing::Chunks));
        next(&[b"POST / HTTP/1.1\ncontent-length:1\n\n1\r\n"]);
        assert!(head.end(Framing::Chunks));
        next(&[b"GET / HTTP/1.1\r\n\r\n"]);
        assert!(!head.end(Framing::Length(0)));
        assert!(head.state().bytes.is_empty());
    }

    #[test]
    fn a_request_is_whole_when_its_body_is_there() {
        let head = HeadBytes::default();
        assert!(!head.is_whole());
        head.note(b"POST / HTTP/1.1\r\ncontent-length: 5\r\n\r\nab");
        assert!(!head.is_whole());
        head.end(Framing::Length(5));
        head.note(b"cd");
        assert!(!head.is_whole());
        head.note(b"e");
        assert!(head.is_whole());
        head.begin();
        assert!(!head.is_whole());
        head.note(b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r");
        head.end(Framing::Chunks);
        assert!(!head.is_whole());
        [&b"\n"[..], b"\r", b"\n"]
            .iter()
            .for_each(|piece| head.note(piece));
        assert!(head.is_whole());
        head.end(Framing::Http2);
        assert!(!head.is_whole());
    }

    #[test]
    fn it_holds_no_more_than_it_may() {
        let head = HeadBytes::default();
        (0..100).for_each(|_| head.note(&[b'x'; 4096]));
        assert_eq!(head.state().bytes.len(), MOST);
        head.end(Framing::Chunks);
        assert!(head.state().bytes.capacity() <= KEPT);
        head.note(b"a body");
        assert!(head.state().bytes.is_empty());
    }
}
