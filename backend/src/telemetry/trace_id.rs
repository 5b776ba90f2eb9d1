//! The id that a request has in the logs of all proxies and services: that of its trace, if the
//! client or a proxy in front started one.

use http::header::HeaderMap;

use super::trace_context;

/// 32 hex digits, not all zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceId([u8; 32]);

impl TraceId {
    /// The id in the request's `traceparent`.
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        let value = trace_context::traceparent(headers)?.as_bytes();
        value.get(trace_context::TRACE)?.try_into().ok().map(Self)
    }

    /// An id of 16 bytes.
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        let mut digits = [0; 32];
        for (pair, byte) in digits.chunks_exact_mut(2).zip(bytes) {
            pair.copy_from_slice(&[digit(byte >> 4), digit(byte & 15)]);
        }
        Self(digits)
    }

    /// The digits.
    pub fn as_str(&self) -> &str {
        // Hex digits are ASCII.
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
    use http::{HeaderName, HeaderValue};

    use super::*;

    fn of(values: &[&str]) -> Option<TraceId> {
        let values = values.iter().map(|value| HeaderValue::from_str(value));
        let name = HeaderName::from_static("traceparent");
        TraceId::of(&values.map(|value| (name.clone(), value.unwrap())).collect())
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
        let sound = format!("00-{digits}-00f067aa0ba902b7-01");
        let later = format!("cc-{digits}-00f067aa0ba902b7-01");
        for good in [&sound, &later, &format!("{later}-what-comes-later")] {
            assert_eq!(of(&[good]).unwrap().as_str(), digits, "{good}");
        }
        let upper = digits.to_uppercase();
        for bad in [
            "",
            "00-4bf9-00f067aa0ba902b7-01",
            &format!("00-{upper}-00f067aa0ba902b7-01"),
            &format!("00-{digits}-00F067AA0BA902B7-01"),
            &format!("00-{}-00f067aa0ba902b7-01", "0".repeat(32)),
            &format!("00-{digits}-0000000000000000-01"),
            &format!("00-{digits}00f067aa0ba902b7-01"),
            &format!("00-{}\"}}-00f067aa0ba902b7-01", &digits[2..]),
            &format!("00-{digits}-00f067aa0ba902b7"),
            &format!("00-{digits}-00f067aa0ba902b7-+1"),
            &format!("ff-{digits}-00f067aa0ba902b7-01"),
            &format!("{sound}-"),
            &format!("{sound}{}", "0".repeat(8000)),
            &format!("{later}0"),
        ] {
            assert_eq!(of(&[bad]), None, "{bad}");
        }
        assert_eq!(of(&[&sound, &sound]), None);
        assert_eq!(of(&[]), None);
    }
}
