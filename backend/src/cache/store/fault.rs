//! What the store's errors mean.

/// What is kept of an error's text in front of the server's own words.
const MAX_REASON_CHARS: usize = 256;

/// What a failed look-up says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StoreFault {
    /// There is no such object.
    Absent,
    /// The key may not read it. S3 says so of absent objects too, to keys that may not list.
    Denied,
    /// Anything else, a bucket that does not exist included.
    Failed,
}

impl StoreFault {
    pub(super) fn of(error: &object_store::Error) -> Self {
        let code = code(error);
        match error {
            object_store::Error::NotFound { .. } if code.as_deref() != Some("NoSuchBucket") => {
                Self::Absent
            }
            // Not a wrong signature, an unknown key or an expired token.
            object_store::Error::PermissionDenied { .. }
                if matches!(code.as_deref(), None | Some("AccessDenied")) =>
            {
                Self::Denied
            }
            _ => Self::Failed,
        }
    }
}

/// An error in one line, without the server's own words, which may hold the key's name.
pub(super) fn reason(error: &object_store::Error) -> String {
    let text = error.to_string();
    let words = text.split(['<', '\n']).next().unwrap_or_default();
    let words: String = words.chars().take(MAX_REASON_CHARS).collect();
    match code(error) {
        Some(code) => format!("{words}{code}"),
        None => words,
    }
}

/// The `Code` of S3's error document.
pub(super) fn code(error: &object_store::Error) -> Option<String> {
    let text = error.to_string();
    let (code, _) = text.split_once("<Code>")?.1.split_once("</Code>")?;
    let is_code = code.len() <= 64 && code.bytes().all(|byte| byte.is_ascii_alphanumeric());
    is_code.then(|| code.to_owned())
}

#[cfg(test)]
mod tests {
    use object_store::Error;

    use super::*;

    fn error(body: &str) -> Box<dyn std::error::Error + Send + Sync> {
        format!("Server returned non-2xx status code: 4xx: {body}").into()
    }

    fn not_found(body: &str) -> Error {
        let (path, source) = ("v1/ab".to_owned(), error(body));
        Error::NotFound { path, source }
    }

    fn denied(body: &str) -> Error {
        let (path, source) = ("v1/ab".to_owned(), error(body));
        Error::PermissionDenied { path, source }
    }

    fn s3(code: &str) -> String {
        format!("<Error><Code>{code}</Code><AWSAccessKeyId>AKIA1</AWSAccessKeyId></Error>")
    }

    #[test]
    fn an_absent_object_is_told_from_an_absent_bucket_and_from_a_refused_key() {
        for (error, fault) in [
            (not_found(""), StoreFault::Absent),
            (not_found(&s3("NoSuchKey")), StoreFault::Absent),
            (not_found(&s3("NoSuchBucket")), StoreFault::Failed),
            (denied(""), StoreFault::Denied),
            (denied(&s3("AccessDenied")), StoreFault::Denied),
            (denied(&s3("SignatureDoesNotMatch")), StoreFault::Failed),
            (denied(&s3("InvalidAccessKeyId")), StoreFault::Failed),
            (denied(&s3("RequestTimeTooSkewed")), StoreFault::Failed),
        ] {
            assert_eq!(StoreFault::of(&error), fault, "{error}");
        }
    }

    #[test]
    fn a_reason_names_the_code_and_no_key() {
        let reason = reason(&denied(&s3("InvalidAccessKeyId")));
        assert!(reason.ends_with("4xx: InvalidAccessKeyId"), "{reason}");
        assert!(!reason.contains("AKIA1"));
        assert!(super::reason(&denied(&"x".repeat(9999))).len() < 300);
    }
}
