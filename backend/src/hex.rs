//! Lower-case hex, written by table: formatting machinery costs more than hashing.

const DIGITS: &[u8; 16] = b"0123456789abcdef";

/// The digits of 32 bytes, as a digest has.
#[derive(Clone, Copy, Debug)]
pub struct HexDigits([u8; 64]);

impl HexDigits {
    pub(crate) fn of(bytes: &[u8; 32]) -> Self {
        let mut text = [0; 64];
        for (pair, byte) in text.as_chunks_mut::<2>().0.iter_mut().zip(bytes) {
            *pair = [
                DIGITS[usize::from(byte >> 4)],
                DIGITS[usize::from(byte & 15)],
            ];
        }
        Self(text)
    }

    /// The digits.
    pub fn as_str(&self) -> &str {
        // They are ASCII.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_byte_is_two_digits() {
        let mut bytes = [0; 32];
        bytes[0] = 0x0f;
        bytes[31] = 0xa9;
        let digits = HexDigits::of(&bytes);
        let text = digits.as_str();
        assert_eq!((&text[..4], &text[62..]), ("0f00", "a9"));
    }
}
