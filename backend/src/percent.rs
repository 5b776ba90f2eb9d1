//! Percent-encoding (RFC 3986, 2.1).

/// Undoes it once. What is no escape stays as it is.
pub(crate) fn decoded(path: &[u8]) -> Vec<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let mut decoded = Vec::with_capacity(path.len());
    let mut rest = path;
    while let [first, after @ ..] = rest {
        rest = after;
        let escaped = match after {
            [high, low, ..] if *first == b'%' => digit(*high).zip(digit(*low)),
            _ => None,
        };
        if let Some((high, low)) = escaped {
            decoded.extend(u8::try_from(16 * high + low));
            rest = &after[2..];
        } else {
            decoded.push(*first);
        }
    }
    decoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_undone_once() {
        assert_eq!(decoded(b"a%2Fb%2fc%252F"), b"a/b/c%2F");
        assert_eq!(decoded(b"%zz%2"), b"%zz%2");
    }
}
