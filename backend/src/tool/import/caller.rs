//! The file that names a caller: its headers, as `curl -H @file` reads them, or its key alone.

use std::fs;
use std::path::Path;

use http::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};

use crate::tool::failure::{CommandError, CommandResult};

/// Reads the file. No error shows what is in it.
pub(super) fn read(path: &Path) -> CommandResult<HeaderMap> {
    // Not what was given: it may be the key itself.
    let text = fs::read_to_string(path).map_err(|error| {
        CommandError::misused(format!("--caller: names no readable file: {error}"))
    })?;
    headers(&text).map_err(|line| {
        let path = path.display();
        CommandError::misused(format!(
            "{path}:{line}: is no header, as in `Authorization: Bearer KEY`, and no key"
        ))
    })
}

/// The headers, or the number of the line that is none.
fn headers(text: &str) -> Result<HeaderMap, usize> {
    let mut headers = HeaderMap::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (name, value) = header(line).ok_or(index + 1)?;
        headers.append(name, value);
    }
    Ok(headers)
}

fn header(line: &str) -> Option<(HeaderName, HeaderValue)> {
    let Some((name, value)) = line.split_once(':') else {
        let is_key = line.bytes().all(|byte| byte.is_ascii_graphic());
        let bearer = is_key.then(|| HeaderValue::try_from(format!("Bearer {line}")).ok())??;
        return Some((AUTHORIZATION, bearer));
    };
    Some((name.trim().parse().ok()?, value.trim().parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_alone_is_a_bearer_token() {
        for text in [
            "sk-1",
            "\n# key of team a\nsk-1\r\n",
            "authorization:  Bearer sk-1 ",
        ] {
            let headers = headers(text).unwrap();
            assert_eq!(headers.len(), 1, "{text}");
            assert_eq!(headers[AUTHORIZATION], "Bearer sk-1", "{text}");
        }
        let several = headers("api-key: k\nOpenAI-Project: p\n").unwrap();
        assert_eq!(
            (&several["api-key"], &several["openai-project"]),
            (&"k".parse().unwrap(), &"p".parse().unwrap())
        );
        assert_eq!(headers("api-key: k\nno key").unwrap_err(), 2);
    }
}
