//! The lines of a file, one at a time and bounded.

use std::io::{self, BufRead, BufReader, Read};

use bytes::Bytes;

/// One input and one vector take less.
pub(super) const MOST_BYTES: u64 = 16 << 20;

const BUFFER_BYTES: usize = 1 << 20;

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// How files begin that are no UTF-8, and what is to be done about each.
const OTHERS: [(&[u8], &str); 7] = [
    (b"\xff\xfe", "is UTF-16: write it as UTF-8"),
    (b"\xfe\xff", "is UTF-16: write it as UTF-8"),
    (b"\x1f\x8b", "is compressed: unpack it by gunzip"),
    (b"\x28\xb5\x2f\xfd", "is compressed: unpack it by unzstd"),
    (b"PK\x03\x04", "is compressed: unpack it by unzip"),
    (b"ARROW1", "is an Arrow file: write it as Parquet"),
    (
        b"\x93NUMPY",
        "is a NumPy file, without inputs: write both as Parquet",
    ),
];

/// A line that is not empty.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) number: u64,
    /// Without white space around it.
    pub(super) text: Bytes,
    /// Where it ends in the file.
    pub(super) end: u64,
}

/// Why there are no further lines.
#[derive(Debug, thiserror::Error)]
pub(super) enum Broken {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("{0}")]
    Encoding(&'static str),
    #[error("is no Parquet that can be read: {0}")]
    Parquet(String),
    #[error("line {0}: is longer than {MOST_BYTES} bytes")]
    TooLong(u64),
}

/// Reads lines, until the first error.
#[derive(Debug)]
pub(super) struct Lines<R> {
    reader: BufReader<R>,
    number: u64,
    end: u64,
}

impl<R: Read> Lines<R> {
    pub(super) fn new(reader: R) -> Self {
        Self {
            reader: BufReader::with_capacity(BUFFER_BYTES, reader),
            number: 0,
            end: 0,
        }
    }

    /// The next line; none after an error.
    pub(super) fn read(&mut self) -> Result<Option<Line>, Broken> {
        loop {
            let mut line = Vec::new();
            let mut bounded = (&mut self.reader).take(MOST_BYTES + 1);
            let read = bounded.read_until(b'\n', &mut line)? as u64;
            if read == 0 {
                return Ok(None);
            }
            self.number += 1;
            self.end += read;
            if read > MOST_BYTES {
                return Err(Broken::TooLong(self.number));
            }
            let mut text = &line[..];
            if self.number == 1 {
                is_utf8(text)?;
                text = text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text);
            }
            let text = text.trim_ascii();
            if !text.is_empty() {
                return Ok(Some(Line {
                    number: self.number,
                    text: Bytes::copy_from_slice(text),
                    end: self.end,
                }));
            }
        }
    }
}

fn is_utf8(first: &[u8]) -> Result<(), Broken> {
    let other = OTHERS.iter().find(|(mark, _)| first.starts_with(mark));
    other.map_or(Ok(()), |(_, what)| Err(Broken::Encoding(what)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tool::import::source::until_error;

    fn lines(text: &[u8]) -> Vec<Result<(u64, Vec<u8>), String>> {
        let mut lines = Lines::new(text);
        let lines = until_error(move || lines.read()).map(|line| {
            let line = line.map_err(|broken| broken.to_string())?;
            Ok((line.number, line.text.to_vec()))
        });
        lines.collect()
    }

    #[test]
    fn marks_blanks_and_empty_lines_do_not_matter() {
        let text = b"\xef\xbb\xbfa\r\n\r\n \t\n b \n\nc";
        let expected = [(1, b"a".to_vec()), (4, b"b".to_vec()), (6, b"c".to_vec())];
        assert_eq!(lines(text), expected.map(Ok));
        assert!(lines(b"").is_empty() && lines(b"\n\r\n").is_empty());
    }

    #[test]
    fn what_is_no_utf_8_is_named() {
        for text in [&b"\xff\xfe{\0"[..], b"\xfe\xff\0{", b"\x1f\x8b\x08"] {
            let found = lines(text);
            assert!(found.len() == 1 && found[0].is_err(), "{found:?}");
        }
    }

    #[test]
    fn a_line_is_read_no_further_than_it_may_be_long() {
        let mut endless = Lines::new(io::repeat(b'x'));
        let found: Vec<_> = until_error(move || endless.read()).take(2).collect();
        assert!(matches!(found[..], [Err(Broken::TooLong(1))]), "{found:?}");
    }
}
