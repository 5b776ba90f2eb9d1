//! The configuration of one instance: the core's fields and those of a filter that Envoy runs as native code.

use body_hash_core::config::{Config, ConfigError, switch};

/// A sound configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Settings {
    /// The fields that every host reads.
    pub(crate) config: Config,
    /// Whether a body may outgrow the listener's buffer limit up to the cap.
    pub(crate) raise_buffer_limit: bool,
}

impl Settings {
    /// Reads a configuration.
    pub(crate) fn parse(json: &[u8]) -> Result<Self, ConfigError> {
        let own = |fields: &mut body_hash_core::config::Fields| {
            Some(fields.optional("raiseBufferLimit", true, switch))
        };
        let (raise_buffer_limit, config) = Config::parse_with(json, own)?;
        Ok(Self {
            config,
            raise_buffer_limit,
        })
    }

    /// The longest body to hash for a request that Envoy buffers up to `buffer_limit`; 0 is no limit.
    pub(crate) fn cap(&self, buffer_limit: u64) -> u64 {
        let cap = self.config.max_body_bytes;
        if self.raise_buffer_limit || buffer_limit == 0 {
            cap
        } else {
            cap.min(buffer_limit)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Settings;

    fn parse(json: &str) -> Result<Settings, String> {
        Settings::parse(json.as_bytes()).map_err(|wrong| wrong.to_string())
    }

    #[test]
    fn nothing_is_required_and_there_is_no_role() {
        let raises = |json| parse(json).map(|settings| settings.raise_buffer_limit);
        assert_eq!(raises(""), Ok(true));
        assert_eq!(raises(r#"{"raiseBufferLimit":false}"#), Ok(false));
        for (json, name) in [
            (r#"{"role":"single"}"#, "role: unknown field"),
            (r#"{"raiseBufferLimit":"no"}"#, "raiseBufferLimit: must"),
            (r#"{"raiseBufferLimit":1}"#, "raiseBufferLimit: must"),
            (r#"{"raiseBufferLimit":null,"header":""}"#, "header: "),
        ] {
            let refused = parse(json).err().unwrap_or_default();
            assert!(refused.contains(name), "{json}: {refused}");
        }
    }

    #[test]
    fn only_without_raising_does_the_buffer_limit_bound_the_cap() {
        let cap = |json: &str, limit| parse(json).map(|settings| settings.cap(limit));
        assert_eq!(cap(r#"{"maxBodyBytes":9}"#, 4), Ok(9));
        let keeps = r#"{"maxBodyBytes":9,"raiseBufferLimit":false}"#;
        assert_eq!(
            [0, 4, 20].map(|limit| cap(keeps, limit)),
            [Ok(9), Ok(4), Ok(9)]
        );
    }
}
