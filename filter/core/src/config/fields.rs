//! The fields of a JSON object, each to be taken exactly once.

use super::json::Json;

/// Reads the value of one field, or says what is wrong with it.
pub type Parse<T> = fn(&Json) -> Result<T, String>;

/// The fields that no reader has taken yet, and what was wrong with those that were.
#[derive(Debug)]
pub struct Fields {
    left: Vec<(String, Json)>,
    wrong: Vec<String>,
}

impl Fields {
    /// Reads one JSON object.
    ///
    /// # Errors
    /// Says what the bytes are instead.
    pub(crate) fn read(bytes: &[u8]) -> Result<Self, String> {
        // Envoy hands over nothing when the operator has configured nothing.
        let bytes = if bytes.trim_ascii().is_empty() {
            b"{}"
        } else {
            bytes
        };
        match Json::read(bytes) {
            Ok(Json::Object(left)) => Ok(Self {
                left,
                wrong: Vec::new(),
            }),
            Ok(_) => Err("the configuration is not a JSON object".to_owned()),
            Err(error) => Err(format!(
                "the configuration is not JSON at line {}, column {}",
                error.line(),
                error.column()
            )),
        }
    }

    /// The field `name`, or `default` if it is absent. A wrong one is noted.
    pub fn optional<T>(&mut self, name: &str, default: T, parse: Parse<T>) -> T {
        match self.take(name) {
            Some(value) => self
                .check(name, value.and_then(|value| parse(&value)))
                .unwrap_or(default),
            None => default,
        }
    }

    /// The field `name`. A wrong or absent one is noted.
    pub fn required<T>(&mut self, name: &str, parse: Parse<T>) -> Option<T> {
        let value = self
            .take(name)
            .unwrap_or_else(|| Err("is missing".to_owned()));
        self.check(name, value.and_then(|value| parse(&value)))
    }

    /// Removes the field; `None` when it is absent.
    fn take(&mut self, name: &str) -> Option<Result<Json, String>> {
        let mut mine = self
            .left
            .extract_if(.., |(key, _)| key == name)
            .map(|(_, value)| value);
        let value = mine.next()?;
        let alone = mine.count() == 0;
        Some(if alone {
            Ok(value)
        } else {
            Err("is given more than once".to_owned())
        })
    }

    fn check<T>(&mut self, name: &str, result: Result<T, String>) -> Option<T> {
        result
            .map_err(|problem| self.wrong.push(format!("{name}: {problem}")))
            .ok()
    }

    /// Everything that was wrong; a field that no reader took is unknown.
    #[must_use]
    pub(crate) fn finish(mut self) -> Vec<String> {
        let unknown = self
            .left
            .iter()
            .map(|(key, _)| format!("{}: unknown field", key.escape_default()));
        self.wrong.extend(unknown);
        self.wrong
    }
}
