//! Refusals that say that a call holds too much, in the words of many servers.
//!
//! A refusal that is taken for one of these by mistake costs a few more refused calls: its call is
//! divided down to the input that the upstream refuses, whatever the reason is.

use http::StatusCode;

use crate::http::error::UpstreamRefusal;

/// How much of a refusal is read. What it may quote of a client's text comes later.
const READ_BYTES: usize = 2048;

/// A smaller number in a refusal is no limit of tokens.
const MIN_TOKENS: usize = 100;

/// Words beside `token`, or of it, in refusals of too many.
const TOO_MANY_TOKENS: [&str; 10] = [
    "max",
    "limit",
    "exceed",
    "too many",
    "too long",
    "too large",
    "supports up to",
    "less than",
    "at most",
    "reduce",
];

/// Words in refusals of too many inputs.
const TOO_MANY_INPUTS: [&str; 11] = [
    "batch size",
    "batch_size",
    "batchsize",
    "array too long",
    "should have at most",
    "instance(s)",
    "in one batch",
    "too many inputs",
    "too many texts",
    "number of texts",
    "number of inputs",
];

/// What a call holds too much of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Measure {
    /// Tokens, of all inputs or of one of them.
    Tokens,
    Inputs,
    Bytes,
}

/// A refusal of a call that holds too much.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OverLimit {
    pub(super) measure: Measure,
    /// The limit, if the refusal names one.
    pub(super) stated: Option<usize>,
}

impl OverLimit {
    /// Whether `refusal` of a call for one input can mean that this input is too long.
    pub fn is_of_input(refusal: &UpstreamRefusal) -> bool {
        Self::of(refusal).is_some_and(|over| over.measure != Measure::Inputs)
    }

    /// What `refusal` says of the size of its call, if that is the reason.
    pub fn of(refusal: &UpstreamRefusal) -> Option<Self> {
        if !matches!(
            refusal.status,
            StatusCode::BAD_REQUEST
                | StatusCode::PAYLOAD_TOO_LARGE
                | StatusCode::UNPROCESSABLE_ENTITY
        ) {
            return None;
        }
        let read = refusal.body.len().min(READ_BYTES);
        let words = String::from_utf8_lossy(&refusal.body[..read]).to_lowercase();
        let measure = measure(&words, refusal.status)?;
        let least = match measure {
            Measure::Tokens => MIN_TOKENS,
            Measure::Inputs | Measure::Bytes => 1,
        };
        // Envelopes repeat the status.
        let status = usize::from(refusal.status.as_u16());
        let stated = numbers(&words).filter(|&number| number >= least && number != status);
        let stated = stated.min();
        Some(Self { measure, stated })
    }
}

fn measure(words: &str, status: StatusCode) -> Option<Measure> {
    let says = |any: &[&str]| any.iter().any(|word| words.contains(word));
    let of_tokens = words.contains("token") && says(&TOO_MANY_TOKENS);
    if of_tokens || words.contains("context length") {
        return Some(Measure::Tokens);
    }
    if says(&TOO_MANY_INPUTS) {
        return Some(Measure::Inputs);
    }
    (status == StatusCode::PAYLOAD_TOO_LARGE).then_some(Measure::Bytes)
}

/// The whole numbers that are no part of a name, as `text-embedding-3-small` has one.
fn numbers(words: &str) -> impl Iterator<Item = usize> {
    let is_of_name = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_');
    let names = words.split(move |c: char| !is_of_name(c));
    names.filter_map(|name| name.parse().ok())
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::*;

    fn read(status: u16, body: &'static str) -> Option<(Measure, Option<usize>)> {
        let over = OverLimit::of(&UpstreamRefusal {
            status: StatusCode::from_u16(status).ok()?,
            headers: HeaderMap::new(),
            body: body.into(),
            inputs: 2,
        })?;
        Some((over.measure, over.stated))
    }

    #[test]
    fn many_servers_words_for_too_much_are_known() {
        for (status, body, measure, stated) in [
            (
                400,
                r#"{"error":{"message":"Requested 416735 tokens, max 300000 tokens per request","code":"max_tokens_per_request"}}"#,
                Measure::Tokens,
                Some(300_000),
            ),
            (
                400,
                r#"{"detail":"Request to model 'voyage-code-3' failed. The max allowed tokens per submitted batch is 120000. Your batch has 124417 tokens after truncation."}"#,
                Measure::Tokens,
                Some(120_000),
            ),
            (
                400,
                r#"{"error":{"code":400,"message":"Unable to submit request because the input token count is 34708 but the model supports up to 20000."}}"#,
                Measure::Tokens,
                Some(20_000),
            ),
            (
                400,
                "Too many tokens overall, split into more batches.",
                Measure::Tokens,
                None,
            ),
            (413, "", Measure::Bytes, None),
            (
                422,
                "batch size 60 > maximum allowed batch size 32",
                Measure::Inputs,
                Some(32),
            ),
            (
                400,
                "250 instance(s) is allowed per prediction. Actual: 1243",
                Measure::Inputs,
                Some(250),
            ),
            (
                400,
                "batch size is invalid, it should not be larger than 10.: input.contents",
                Measure::Inputs,
                Some(10),
            ),
            (
                400,
                "invalid request: total number of texts must be at most 96 (received 97)",
                Measure::Inputs,
                Some(96),
            ),
        ] {
            assert_eq!(read(status, body), Some((measure, stated)), "{body}");
        }
    }

    #[test]
    fn other_refusals_are_no_matter_of_size() {
        for (status, body) in [
            (400, r#"{"error":{"message":"Invalid model"}}"#),
            (401, "Incorrect API key: your token exceeds its limit"),
            (429, "Rate limit reached on tokens per min: Limit 1000000"),
            (422, "encoding_format: base64 is not supported"),
            (500, "too many tokens"),
        ] {
            assert_eq!(read(status, body), None, "{body}");
        }
    }
}
