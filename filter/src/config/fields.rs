//! The fields of a JSON object, each to be taken exactly once.

use std::fmt;

use serde_core::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;

/// The fields that nobody has taken yet, and what was wrong with those that were.
///
/// `serde_json`'s own map keeps the last of two equal keys and says nothing; this one keeps both.
#[derive(Debug)]
pub struct Fields {
    left: Vec<(String, Value)>,
    wrong: Vec<String>,
}

impl Fields {
    /// Reads one JSON object.
    ///
    /// # Errors
    /// Says what the bytes are instead.
    pub fn read(json: &[u8]) -> Result<Self, String> {
        if json.iter().all(u8::is_ascii_whitespace) {
            return Err("role: is missing, the whole configuration is empty".to_owned());
        }
        let Object(left) = serde_json::from_slice(json)
            .map_err(|error| format!("the configuration is not a JSON object: {error}"))?;
        Ok(Self {
            left,
            wrong: Vec::new(),
        })
    }

    /// Takes the field `name`. `default` stands for an absent field; without one it is required.
    pub fn take<T>(
        &mut self,
        name: &str,
        default: Option<T>,
        parse: impl Fn(&Value) -> Result<T, String>,
    ) -> Option<T> {
        let (mine, left): (Vec<_>, Vec<_>) = std::mem::take(&mut self.left)
            .into_iter()
            .partition(|(key, _)| key == name);
        self.left = left;
        let result = match mine.as_slice() {
            [] => default.ok_or_else(|| "is missing".to_owned()),
            [(_, value)] => parse(value),
            _ => Err("is given more than once".to_owned()),
        };
        result
            .map_err(|problem| self.wrong.push(format!("{name}: {problem}")))
            .ok()
    }

    /// Everything that was wrong; a field that nobody took is unknown.
    #[must_use]
    pub fn finish(mut self) -> Vec<String> {
        let unknown = self
            .left
            .iter()
            .map(|(key, _)| format!("{key:?}: unknown field"));
        self.wrong.extend(unknown);
        self.wrong
    }
}

struct Object(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ObjectVisitor)
    }
}

struct ObjectVisitor;

impl<'de> Visitor<'de> for ObjectVisitor {
    type Value = Object;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Object, A::Error> {
        let mut fields = Vec::new();
        while let Some(entry) = entries.next_entry()? {
            fields.push(entry);
        }
        Ok(Object(fields))
    }
}
