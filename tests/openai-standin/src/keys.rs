//! API keys: which request carries one, which are refused, and whose they are.

use std::collections::{BTreeMap, BTreeSet};

use http::HeaderMap;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::refusal::Refusal;

/// Characters of a refused key that the refusal repeats, as the real API does.
const SHOWN_START: usize = 8;
const SHOWN_END: usize = 4;

/// The keys that are treated in a special way; every other key is good for everything.
#[derive(Debug, Default, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Keys {
    /// Refused with 401.
    revoked: BTreeSet<String>,
    /// Key to the models that it may not use: refused with 403.
    denied_models: BTreeMap<String, BTreeSet<String>>,
}

impl Keys {
    /// Refuses a call without a key, with a revoked one, or for a model that is denied to it.
    pub(crate) fn check(&self, key: Option<&str>, model: Option<&str>) -> Result<(), Refusal> {
        let key = key.ok_or_else(Refusal::no_key)?;
        if self.revoked.contains(key) {
            return Err(Refusal::revoked_key(&masked(key)));
        }
        match model {
            Some(model)
                if self
                    .denied_models
                    .get(key)
                    .is_some_and(|denied| denied.contains(model)) =>
            {
                Err(Refusal::denied_model(model))
            }
            _ => Ok(()),
        }
    }
}

/// The key of a request: `Authorization: Bearer`, or the `api-key` or `x-api-key` of OpenAI's
/// relatives, so that the stand-in can play those too.
pub(crate) fn presented(headers: &HeaderMap) -> Option<&str> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let bearer = text("authorization").and_then(|value| value.strip_prefix("Bearer "));
    bearer
        .or_else(|| text("api-key"))
        .or_else(|| text("x-api-key"))
        .filter(|key| !key.is_empty())
}

/// The organisation that a key belongs to: `acme` for `sk-acme-1` and `sk-acme-2`. A key of another
/// form is an organisation of its own.
pub(crate) fn organisation(key: &str) -> String {
    let named = key
        .strip_prefix("sk-")
        .and_then(|rest| rest.split_once('-'));
    match named {
        Some((organisation, _)) if !organisation.is_empty() => organisation.to_owned(),
        _ => format!("user-{}", digest(key.as_bytes())),
    }
}

/// Lower-case hexadecimal SHA-256.
pub(crate) fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

fn masked(key: &str) -> String {
    let characters: Vec<char> = key.chars().collect();
    let hidden = SHOWN_START..characters.len().saturating_sub(SHOWN_END).max(SHOWN_START);
    let star = |(place, character): (usize, &char)| {
        if hidden.contains(&place) {
            '*'
        } else {
            *character
        }
    };
    characters.iter().enumerate().map(star).collect()
}
