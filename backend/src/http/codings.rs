//! Takes content codings (RFC 9110, 8.4.1) off an answer, within a bound of memory.
//!
//! The gateway asks for answers as they are, but some proxies compress all the same.

use std::io::{self, Read};

use bytes::Bytes;
use flate2::read::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};
use http::header::{CONTENT_ENCODING, HeaderMap};
use ruzstd::decoding::StreamingDecoder;
use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use tokio::task::spawn_blocking;

/// More codings, one within the other, are an attack. curl takes as many.
const MAX_CODINGS: usize = 5;

const BROTLI_BUFFER_BYTES: usize = 4096;

/// One coding that can be taken off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Coding {
    Gzip,
    Deflate,
    Brotli,
    Zstd,
}

/// The body is in a coding that is not known, is broken, or is longer than the bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DecodeError;

/// The body without the codings that `headers` name; no step of it is longer than `limit`.
pub async fn decode(headers: &HeaderMap, body: Bytes, limit: usize) -> Result<Bytes, DecodeError> {
    let codings = codings(headers)?;
    if codings.is_empty() || body.is_empty() {
        return Ok(body);
    }
    // A few bytes can hold hundreds of megabytes, which keep a thread busy.
    let decoded = spawn_blocking(move || {
        let mut outermost_first = codings.into_iter().rev();
        outermost_first.try_fold(body, |body, coding| take_off(coding, &body, limit))
    });
    decoded.await.map_err(|_| DecodeError)?
}

/// The codings in the order in which they were applied.
fn codings(headers: &HeaderMap) -> Result<Vec<Coding>, DecodeError> {
    let mut codings = Vec::new();
    for value in headers.get_all(CONTENT_ENCODING) {
        for name in value.to_str().map_err(|_| DecodeError)?.split(',') {
            match &*name.trim().to_ascii_lowercase() {
                "" | "identity" | "none" => {}
                "gzip" | "x-gzip" => codings.push(Coding::Gzip),
                "deflate" => codings.push(Coding::Deflate),
                "br" => codings.push(Coding::Brotli),
                "zstd" => codings.push(Coding::Zstd),
                _ => return Err(DecodeError),
            }
        }
    }
    match codings.len() {
        0..=MAX_CODINGS => Ok(codings),
        _ => Err(DecodeError),
    }
}

fn take_off(coding: Coding, body: &[u8], limit: usize) -> Result<Bytes, DecodeError> {
    let read = match coding {
        Coding::Gzip => within(limit, MultiGzDecoder::new(body)),
        Coding::Deflate if has_zlib_header(body) => within(limit, ZlibDecoder::new(body)),
        // Some servers have always left out the header.
        Coding::Deflate => within(limit, DeflateDecoder::new(body)),
        Coding::Brotli => within(
            limit,
            brotli_decompressor::Decompressor::new(body, BROTLI_BUFFER_BYTES),
        ),
        Coding::Zstd => zstd(body, limit),
    };
    read.map(Bytes::from).map_err(|_| DecodeError)
}

fn within(limit: usize, decoder: impl Read) -> io::Result<Vec<u8>> {
    let mut decoded = Vec::new();
    // One byte more tells a body of just this length from a longer one.
    let mut bounded = decoder.take(limit as u64 + 1);
    bounded.read_to_end(&mut decoded)?;
    match decoded.len() <= limit {
        true => Ok(decoded),
        false => Err(io::ErrorKind::FileTooLarge.into()),
    }
}

/// Reads all frames; those of no content (RFC 8878, 3.1.2) are left out.
fn zstd(mut body: &[u8], limit: usize) -> io::Result<Vec<u8>> {
    let mut decoded = Vec::new();
    while !body.is_empty() {
        match StreamingDecoder::new(&mut body) {
            Ok(frame) => decoded.extend(within(limit - decoded.len(), frame)?),
            Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame {
                length,
                ..
            })) => {
                body = body
                    .get(length as usize..)
                    .ok_or(io::ErrorKind::UnexpectedEof)?
            }
            Err(error) => return Err(io::Error::other(error)),
        }
    }
    Ok(decoded)
}

/// Whether the body begins as RFC 1950, 2.2 says.
fn has_zlib_header(body: &[u8]) -> bool {
    match body {
        [method, flags, ..] => {
            method & 0x0f == 8 && u16::from_be_bytes([*method, *flags]).is_multiple_of(31)
        }
        _ => false,
    }
}
