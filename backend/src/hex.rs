//! Lower-case hex, written by table: formatting machinery costs more than hashing.

use std::fmt;

const DIGITS: &[u8; 16] = b"0123456789abcdef";

/// The digits of 32 bytes, as a digest has.
pub(crate) fn digits(bytes: &[u8; 32]) -> [u8; 64] {
    let mut text = [0; 64];
    for (pair, byte) in text.as_chunks_mut::<2>().0.iter_mut().zip(bytes) {
        *pair = [
            DIGITS[usize::from(byte >> 4)],
            DIGITS[usize::from(byte & 15)],
        ];
    }
    text
}

/// Writes the digits of 32 bytes.
pub(crate) fn write(bytes: &[u8; 32], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    f.write_str(std::str::from_utf8(&digits(bytes)).map_err(|_| fmt::Error)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_byte_is_two_digits() {
        let mut bytes = [0; 32];
        bytes[0] = 0x0f;
        bytes[31] = 0xa9;
        let text = digits(&bytes);
        assert_eq!((&text[..4], &text[62..]), (&b"0f00"[..], &b"a9"[..]));
    }
}
