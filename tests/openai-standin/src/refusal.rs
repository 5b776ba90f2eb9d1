//! OpenAI's refusals: status, envelope and wording.
//!
//! The wording was collected from answers of the real API that users published; it changes now and
//! then, so nothing should depend on more of it than the status, `type`, `param` and `code`.

use std::time::Duration;

use serde_json::{Value, json};

use crate::models::{MAX_INPUT_TOKENS, MAX_INPUTS, MAX_REQUEST_TOKENS};

/// An error answer.
#[derive(Debug)]
pub(crate) struct Refusal {
    /// The HTTP status.
    pub(crate) status: u16,
    message: String,
    kind: &'static str,
    param: Option<String>,
    code: Option<&'static str>,
    /// When to try again, if that helps.
    pub(crate) retry_after: Option<Duration>,
}

impl Refusal {
    /// A 400 that names no parameter, as most validation errors of the embeddings route.
    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self {
            status: 400,
            message: message.into(),
            kind: "invalid_request_error",
            param: None,
            code: None,
            retry_after: None,
        }
    }

    pub(crate) fn not_json() -> Self {
        Self::invalid(
            "We could not parse the JSON body of your request. (HINT: This likely means you aren't \
             using your HTTP library correctly. The OpenAI API expects a JSON payload, but what was \
             sent was not valid JSON.)",
        )
    }

    pub(crate) fn missing_model() -> Self {
        Self::invalid("you must provide a model parameter")
    }

    pub(crate) fn bad_input() -> Self {
        Self::invalid(
            "'$.input' is invalid. Please check the API reference: \
             https://platform.openai.com/docs/api-reference.",
        )
    }

    pub(crate) fn empty_input(place: &str) -> Self {
        Self::invalid(format!(
            "Invalid '{place}': input cannot be an empty string."
        ))
    }

    pub(crate) fn long_input(place: &str) -> Self {
        Self::invalid(format!(
            "Invalid '{place}': maximum input length is {MAX_INPUT_TOKENS} tokens."
        ))
    }

    pub(crate) fn many_inputs() -> Self {
        Self::invalid(format!(
            "Invalid 'input': array length must be {MAX_INPUTS} or less."
        ))
    }

    pub(crate) fn many_tokens(tokens: usize) -> Self {
        Self {
            kind: "max_tokens_per_request",
            code: Some("max_tokens_per_request"),
            ..Self::invalid(format!(
                "Requested {tokens} tokens, max {MAX_REQUEST_TOKENS} tokens per request"
            ))
        }
    }

    pub(crate) fn bad_encoding(value: &str) -> Self {
        Self::invalid(format!(
            "Invalid value for 'encoding_format' = {value}. Supported values: ['float', 'base64']."
        ))
    }

    pub(crate) fn bad_dimensions(value: &str, bound: &str) -> Self {
        Self::invalid(format!(
            "Invalid value for 'dimensions' = {value}. Must be {bound}."
        ))
    }

    pub(crate) fn fixed_dimensions() -> Self {
        Self::invalid("This model does not support specifying dimensions.")
    }

    pub(crate) fn unknown_model(name: &str) -> Self {
        Self {
            status: 404,
            code: Some("model_not_found"),
            ..Self::invalid(format!(
                "The model `{name}` does not exist or you do not have access to it."
            ))
        }
    }

    pub(crate) fn denied_model(name: &str) -> Self {
        Self {
            status: 403,
            code: Some("model_not_found"),
            ..Self::invalid(format!(
                "Project `proj_standin` does not have access to model `{name}`"
            ))
        }
    }

    pub(crate) fn unknown_url(method: &str, path: &str) -> Self {
        Self {
            status: 404,
            ..Self::invalid(format!("Invalid URL ({method} {path})"))
        }
    }

    pub(crate) fn wrong_method(accepted: &str) -> Self {
        Self {
            status: 405,
            code: Some("method_not_supported"),
            ..Self::invalid(format!("Only {accepted} requests are accepted."))
        }
    }

    pub(crate) fn no_key() -> Self {
        Self {
            status: 401,
            ..Self::invalid(
                "You didn't provide an API key. You need to provide your API key in an Authorization \
                 header using Bearer auth (i.e. Authorization: Bearer YOUR_KEY). You can obtain an \
                 API key from https://platform.openai.com/account/api-keys.",
            )
        }
    }

    pub(crate) fn revoked_key(masked: &str) -> Self {
        Self {
            status: 401,
            code: Some("invalid_api_key"),
            ..Self::invalid(format!(
                "Incorrect API key provided: {masked}. You can find your API key at \
                 https://platform.openai.com/account/api-keys."
            ))
        }
    }

    /// What the real API says with that status, for faults that name nothing else.
    pub(crate) fn of_status(status: u16) -> Self {
        match status {
            400 => Self::long_input("input"),
            401 => Self::revoked_key("sk-****"),
            403 => Self::denied_model("text-embedding-3-small"),
            404 => Self::unknown_model("text-embedding-3-small"),
            429 => Self {
                status,
                kind: "requests",
                code: Some("rate_limit_exceeded"),
                ..Self::invalid(
                    "Rate limit reached for requests per min (RPM): Limit 3, Used 3, Requested 1.",
                )
            },
            500.. => Self {
                status,
                kind: "server_error",
                ..Self::invalid(
                    "The server had an error while processing your request. Sorry about that!",
                )
            },
            _ => Self {
                status,
                ..Self::invalid("The request was refused.")
            },
        }
    }

    /// The same refusal in other words.
    pub(crate) fn saying(self, message: String) -> Self {
        Self { message, ..self }
    }

    /// The same refusal, which says when to try again.
    pub(crate) fn after(self, wait: Duration) -> Self {
        let retry_after = Some(wait);
        Self {
            retry_after,
            ..self
        }
    }

    /// The error envelope.
    pub(crate) fn envelope(&self) -> Value {
        json!({"error": {
            "message": self.message,
            "type": self.kind,
            "param": self.param,
            "code": self.code,
        }})
    }
}
