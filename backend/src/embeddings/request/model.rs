//! The model that a body names, and a body whose model is named elsewhere.

use bytes::Bytes;

use crate::embeddings::json::{self, Members};

/// The model that a body names, if it names one.
pub fn named_model(body: &[u8]) -> Option<String> {
    let members = Members::parse(std::str::from_utf8(body).ok()?)?;
    let mut models = members.0.iter().filter(|(name, _)| name == "model");
    match (models.next(), models.next()) {
        (Some((_, raw)), None) => json::text(raw).map(|model| model.to_string()),
        _ => None,
    }
}

/// The body with `model` as its model, whichever it named. One that is no JSON object stays as it
/// is, and so does one that names this model.
pub fn with_model(body: Bytes, model: &str) -> Bytes {
    named(&body, model).unwrap_or(body)
}

fn named(body: &[u8], model: &str) -> Option<Bytes> {
    if named_model(body).as_deref() == Some(model) {
        return None;
    }
    let members = Members::parse(std::str::from_utf8(body).ok()?)?;
    let mut written = br#"{"model":"#.to_vec();
    serde_json::to_writer(&mut written, model).ok()?;
    for (name, value) in members.0.iter().filter(|(name, _)| name != "model") {
        written.push(b',');
        serde_json::to_writer(&mut written, name).ok()?;
        written.push(b':');
        written.extend_from_slice(value.get().as_bytes());
    }
    written.push(b'}');
    Some(written.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_model_is_put_in_place_of_what_the_body_names() {
        for (body, expected) in [
            (r#"{"input":"a"}"#, r#"{"model":"d\"","input":"a"}"#),
            (
                r#"{ "model" : "other", "input":[ 1.0 ], "n\u0061me":2 }"#,
                r#"{"model":"d\"","input":[ 1.0 ],"name":2}"#,
            ),
            (
                r#"{"model":"a","model":"d\"","x":1,"x":2}"#,
                r#"{"model":"d\"","x":1,"x":2}"#,
            ),
            ("{}", r#"{"model":"d\""}"#),
            (r#"{"mod\u0065l":"d\""}"#, r#"{"mod\u0065l":"d\""}"#),
            ("[]", "[]"),
            ("{", "{"),
        ] {
            assert_eq!(with_model(body.into(), "d\""), expected, "{body}");
        }
    }
}
