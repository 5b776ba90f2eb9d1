//! Parses the body of a request, and checks its model and limits.

use bytes::Bytes;
use http::header::CONTENT_ENCODING;
use http::request::Parts;

use crate::embeddings::request::{self, EmbeddingRequest, Foreign, Parsed, Refused};
use crate::gateway::app::App;
use crate::http::credentials;
use crate::http::error::Error;
use crate::http::headers::has;
use crate::telemetry::Bypass;

/// What a body asks for.
pub(super) enum Understood {
    /// Vectors that can be looked up.
    Lookup(EmbeddingRequest),
    /// The upstream's answer, whatever it is.
    Bypass(Bypass),
}

/// What the request asks for, if the operator allows it.
pub(super) fn understand(app: &App, parts: &Parts, body: &Bytes) -> Result<Understood, Error> {
    let understood = parse(app, parts, body)?;
    app.access.check_model(match &understood {
        Understood::Lookup(request) => Some(&request.model),
        Understood::Bypass(_) => None,
    })?;
    Ok(understood)
}

fn parse(app: &App, parts: &Parts, body: &Bytes) -> Result<Understood, Error> {
    // Only what decodes the body can say what it is.
    if has(&parts.headers, &CONTENT_ENCODING) {
        return Ok(Understood::Bypass(Bypass::Encoding));
    }
    let parsed = request::parse(body, &app.request_rules);
    let parsed = parsed.map_err(|refused| refusal(app, &refused))?;
    Ok(match parsed {
        Parsed::Understood(_) if parts.uri.query().is_some_and(credentials::in_query) => {
            Understood::Bypass(Bypass::Query)
        }
        Parsed::Understood(request) => Understood::Lookup(request),
        Parsed::Foreign(Foreign::Field) => Understood::Bypass(Bypass::Field),
        Parsed::Foreign(Foreign::Shape) => Understood::Bypass(Bypass::Shape),
    })
}

fn refusal(app: &App, refused: &Refused) -> Error {
    let rules = &app.request_rules;
    match *refused {
        Refused::NotJson => Error::NotJson,
        Refused::TooManyInputs => Error::TooManyInputs {
            limit: rules.max_inputs,
        },
        Refused::InputTooLarge(index) => Error::InputTooLarge {
            index,
            limit: rules.max_input_bytes,
        },
    }
}
