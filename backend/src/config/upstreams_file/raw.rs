//! The file's shape.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, Visitor};
use toml::Spanned;

/// A word or a number, as it would stand in a variable.
#[derive(Debug)]
pub(super) struct RawSetting(pub(super) String);

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
    pub(super) base_url: Spanned<RawSetting>,
    pub(super) credential: Option<Spanned<RawSetting>>,
    pub(super) credential_header: Option<Spanned<RawSetting>>,
    #[serde(default)]
    pub(super) headers: BTreeMap<String, Spanned<RawSetting>>,
    #[serde(default)]
    pub(super) models: BTreeMap<String, String>,
    #[serde(default)]
    pub(super) limits: RawLimits,
    pub(super) id: Option<Spanned<RawSetting>>,
    pub(super) ca_file: Option<Spanned<RawSetting>>,
    pub(super) proxy: Option<Spanned<RawSetting>>,
    pub(super) encoding: Option<Spanned<RawSetting>>,
    pub(super) priority: Option<Spanned<RawSetting>>,
    pub(super) weight: Option<Spanned<RawSetting>>,
    pub(super) serves: Option<Spanned<RawSetting>>,
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawLimits {
    pub(super) inputs: Option<Spanned<RawSetting>>,
    pub(super) tokens: Option<Spanned<RawSetting>>,
    pub(super) bytes: Option<Spanned<RawSetting>>,
    pub(super) requests_per_minute: Option<Spanned<RawSetting>>,
    pub(super) tokens_per_minute: Option<Spanned<RawSetting>>,
}

#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawModel {
    pub(super) upstreams: Vec<Spanned<String>>,
    pub(super) id: Option<Spanned<RawSetting>>,
}

struct SettingVisitor;

impl Visitor<'_> for SettingVisitor {
    type Value = RawSetting;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string or a number")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<RawSetting, E> {
        Ok(RawSetting(text.to_owned()))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<RawSetting, E> {
        Ok(RawSetting(number.to_string()))
    }
}

impl<'de> Deserialize<'de> for RawSetting {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(SettingVisitor)
    }
}
