//! A vector as upstreams write it: base64, or a list of numbers.

/// Little-endian `f32`s out of the JSON value `raw`.
pub(in crate::embeddings) fn decode(raw: &str) -> Option<Vec<u8>> {
    if raw.starts_with('[') {
        return decode_list(raw);
    }
    let unescaped;
    let text = match raw.strip_prefix('"')?.strip_suffix('"')? {
        plain if !plain.contains('\\') => plain,
        // Some JSON writers escape the slash, which is a base64 digit.
        _ => {
            unescaped = serde_json::from_str::<String>(raw).ok()?;
            &unescaped
        }
    };
    let bytes = base64_simd::STANDARD.decode_to_vec(text).ok()?;
    bytes
        .len()
        .is_multiple_of(size_of::<f32>())
        .then_some(bytes)
}

/// Parsed as `f32` straight away: over `f64` a number could be rounded twice.
fn decode_list(raw: &str) -> Option<Vec<u8>> {
    let numbers = raw.strip_prefix('[')?.strip_suffix(']')?.split(',');
    let mut bytes = Vec::with_capacity(raw.len() / 2);
    for number in numbers {
        let number: f32 = number.trim().parse().ok()?;
        bytes.extend_from_slice(&number.to_le_bytes());
    }
    Some(bytes)
}
