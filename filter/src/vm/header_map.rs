//! The headers of a request as proxy-wasm hands them over at once: one call in place of one for each name.
//!
//! Little-endian: the number of headers, then the lengths of each name and value, then each name and value with a NUL
//! behind it.

use crate::policy::RequestHead;

/// See the module.
#[derive(Debug, Default)]
pub struct HeaderMap(Vec<u8>);

impl HeaderMap {
    /// Takes what the proxy has written. A map that ends too early has fewer headers.
    #[must_use]
    pub const fn new(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let count = number(&self.0, 0).unwrap_or(0);
        let mut at = count.saturating_mul(8).saturating_add(4);
        (0..count).map_while(move |place| {
            let lengths = place.checked_mul(8)?.checked_add(4)?;
            let name = text(&self.0, &mut at, number(&self.0, lengths)?)?;
            let value = text(&self.0, &mut at, number(&self.0, lengths.checked_add(4)?)?)?;
            Some((name, value))
        })
    }
}

impl RequestHead for HeaderMap {
    fn get(&self, name: &str) -> Option<&[u8]> {
        let is_it = |(key, value): (_, _)| (key == name.as_bytes()).then_some(value);
        self.iter().find_map(is_it)
    }
}

fn number(bytes: &[u8], at: usize) -> Option<usize> {
    let (number, _) = bytes.get(at..)?.split_first_chunk::<4>()?;
    usize::try_from(u32::from_le_bytes(*number)).ok()
}

/// The text at `at`, which moves behind it and its NUL.
fn text<'a>(bytes: &'a [u8], at: &mut usize, len: usize) -> Option<&'a [u8]> {
    let end = at.checked_add(len)?;
    let text = bytes.get(*at..end)?;
    *at = end.checked_add(1)?;
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::HeaderMap;
    use crate::policy::RequestHead;

    const MAP: &[u8] = b"\x03\0\0\0\x01\0\0\0\x02\0\0\0\x01\0\0\0\0\0\0\0\x01\0\0\0\x01\0\0\0a\0\xff\0\0b\0\0a\0z\0";

    #[test]
    fn a_header_is_found_as_bytes_and_the_first_of_its_name() {
        let map = HeaderMap::new(MAP.to_vec());
        assert_eq!(map.get("a"), Some(&b"\xff\0"[..]));
        assert_eq!(map.get("b"), Some(&b""[..]));
        assert_eq!(map.get(""), None);
    }

    #[test]
    fn half_a_map_has_fewer_headers_and_no_panic() {
        for len in 0..MAP.len() {
            let map = HeaderMap::new(MAP[..len].to_vec());
            let whole = len >= 32;
            assert_eq!(map.get("a").is_some(), whole, "{len}");
        }
        let huge = HeaderMap::new(vec![0xff; 64]);
        assert_eq!(huge.get("a"), None);
    }
}
