//! The number that a request has in all logs along its way: that of its trace, if somebody in
//! front of us has given it one.

use http::header::{HeaderMap, HeaderName};

/// W3C Trace Context: `00-<trace>-<parent>-<flags>`, in lower-case hex digits.
pub(super) const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// 32 hex digits, not all zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceId([u8; 32]);

impl TraceId {
    /// What the request's `traceparent` says.
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        let value = headers.get(TRACEPARENT)?.as_bytes();
        let digits = value.get(3..35)?;
        // Later versions may add to the end (W3C Trace Context, 2.2.2), but move nothing.
        let framed = value.get(2) == Some(&b'-') && value.get(35) == Some(&b'-');
        let hex = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        let sound = framed && digits.iter().all(hex) && digits.iter().any(|&byte| byte != b'0');
        sound.then(|| digits.try_into().ok().map(Self)).flatten()
    }

    /// The number itself.
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        let mut digits = [0; 32];
        for (pair, byte) in digits.chunks_exact_mut(2).zip(bytes) {
            pair.copy_from_slice(&[digit(byte >> 4), digit(byte & 15)]);
        }
        Self(digits)
    }

    /// The digits.
    pub fn as_str(&self) -> &str {
        // They are ASCII.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

fn digit(value: u8) -> u8 {
    match value {
        0..=9 => b'0' + value,
        _ => b'a' + value - 10,
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn of(value: &str) -> Option<TraceId> {
        let value = HeaderValue::from_str(value).unwrap();
        TraceId::of(&HeaderMap::from_iter([(TRACEPARENT, value)]))
    }

    #[test]
    fn numbers_are_written_in_lower_case_hex() {
        let number =
            TraceId::from_bytes(0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736_u128.to_be_bytes());
        assert_eq!(number.as_str(), "4bf92f3577b34da6a3ce929d0e0e4736");
    }

    #[test]
    fn only_a_sound_number_is_taken() {
        let digits = "4bf92f3577b34da6a3ce929d0e0e4736";
        for version in ["00", "01"] {
            let found = of(&format!("{version}-{digits}-00f067aa0ba902b7-01")).unwrap();
            assert_eq!(found.as_str(), digits);
        }
        let upper = digits.to_uppercase();
        for bad in [
            "",
            "00-4bf9-00f067aa0ba902b7-01",
            &format!("00-{upper}-00f067aa0ba902b7-01"),
            &format!("00-{}-00f067aa0ba902b7-01", "0".repeat(32)),
            &format!("00-{digits}00f067aa0ba902b7-01"),
            &format!("00-{}\"}}-00f067aa0ba902b7-01", &digits[2..]),
        ] {
            assert_eq!(of(bad), None, "{bad}");
        }
        assert_eq!(TraceId::of(&HeaderMap::new()), None);
    }
}
