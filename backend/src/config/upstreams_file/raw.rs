//! The file's shape.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, Visitor};
use toml::Spanned;

/// A word or a number, as it would stand in a variable.
#[derive(Debug)]
pub(super) struct Text(pub(super) String);

#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawFile {
    pub(super) upstreams: BTreeMap<Spanned<String>, RawUpstream>,
    #[serde(default)]
    pub(super) models: BTreeMap<Spanned<String>, RawModel>,
}

#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawUpstream {
    pub(super) base_url: Spanned<Text>,
    pub(super) credential: Option<Spanned<Text>>,
    pub(super) credential_header: Option<Spanned<Text>>,
    #[serde(default)]
    pub(super) headers: BTreeMap<String, Spanned<Text>>,
    #[serde(default)]
    pub(super) models: BTreeMap<String, String>,
    #[serde(default)]
    pub(super) limits: RawLimits,
    pub(super) id: Option<Spanned<Text>>,
    pub(super) ca_file: Option<Spanned<Text>>,
    pub(super) proxy: Option<Spanned<Text>>,
    pub(super) encoding: Option<Spanned<Text>>,
    pub(super) priority: Option<Spanned<Text>>,
    pub(super) weight: Option<Spanned<Text>>,
    pub(super) serves: Option<Spanned<Text>>,
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawLimits {
    pub(super) inputs: Option<Spanned<Text>>,
    pub(super) tokens: Option<Spanned<Text>>,
    pub(super) bytes: Option<Spanned<Text>>,
    pub(super) requests_per_minute: Option<Spanned<Text>>,
    pub(super) tokens_per_minute: Option<Spanned<Text>>,
}

#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawModel {
    pub(super) upstreams: Vec<Spanned<String>>,
    pub(super) id: Option<Spanned<Text>>,
}

struct TextVisitor;

impl Visitor<'_> for TextVisitor {
    type Value = Text;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string or a number")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Text, E> {
        Ok(Text(text.to_owned()))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Text, E> {
        Ok(Text(number.to_string()))
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TextVisitor)
    }
}
