//! How entries are named.

use crate::embeddings::key::Key;

/// The key that a name stands for: 64 lower-case hex digits.
pub fn key(name: &str) -> Option<Key> {
    let is_key = name.len() == 64 && name.bytes().all(is_digit);
    let digits: [u8; 32] = is_key.then(|| const_hex::decode_to_array(name).ok())??;
    Some(digits.into())
}

/// Whether a folder holds the entries of keys that begin like its name.
pub(super) fn is_fan_out(name: &str) -> bool {
    name.len() == 2 && name.bytes().all(is_digit)
}

fn is_digit(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'a'..=b'f')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_name_that_a_gateway_writes_is_a_key() {
        let name = "0f".repeat(32);
        assert_eq!(key(&name).unwrap().to_string(), name);
        for other in [
            "",
            "0f",
            &"0F".repeat(32),
            &"0g".repeat(32),
            &format!("0x{}", "0".repeat(62)),
            &"0f".repeat(33),
        ] {
            assert!(key(other).is_none(), "{other}");
        }
        for (folder, is) in [("0f", true), ("0F", false), ("0", false), ("0ff", false)] {
            assert_eq!(is_fan_out(folder), is, "{folder}");
        }
    }
}
