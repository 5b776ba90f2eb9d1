//! JSON as far as a configuration needs it.
//!
//! `serde_json`'s own map keeps the last of two equal keys and says nothing; this one keeps both.
//! Its numbers would also bring the printing of floats into the module, a tenth of its size.

use std::fmt;

use serde_core::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

/// A JSON value. Of numbers only those that a field can mean are told apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Json {
    /// A whole number from 0 to 2^64 - 1.
    Whole(u64),
    /// A string.
    Text(String),
    /// An array.
    List(Vec<Self>),
    /// An object, its entries as they stand.
    Object(Vec<(String, Self)>),
    /// `true` or `false`.
    Truth(bool),
    /// `null`, or another number.
    Other,
}

impl Json {
    /// Reads one JSON value and nothing behind it.
    ///
    /// # Errors
    /// Says where the bytes stop being JSON.
    pub(crate) fn read(bytes: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(bytes)
    }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyValue)
    }
}

struct AnyValue;

impl<'de> Visitor<'de> for AnyValue {
    type Value = Json;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("JSON")
    }

    fn visit_bool<E>(self, is: bool) -> Result<Json, E> {
        Ok(Json::Truth(is))
    }

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Other)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Json, E> {
        // Only negative numbers come this way.
        Ok(Json::Other)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Json, E> {
        Ok(Json::Other)
    }

    fn visit_u64<E>(self, number: u64) -> Result<Json, E> {
        Ok(Json::Whole(number))
    }

    fn visit_str<E>(self, text: &str) -> Result<Json, E> {
        Ok(Json::Text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut entries: A) -> Result<Json, A::Error> {
        let mut list = Vec::new();
        while let Some(entry) = entries.next_element()? {
            list.push(entry);
        }
        Ok(Json::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Json, A::Error> {
        let mut object = Vec::new();
        while let Some(entry) = entries.next_entry()? {
            object.push(entry);
        }
        Ok(Json::Object(object))
    }
}
