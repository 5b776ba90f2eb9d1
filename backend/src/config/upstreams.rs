//! The upstreams: the one that variables describe, or those of a file.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;

use secrecy::SecretString;

use super::reader::Reader;
use super::{UpstreamConfig, Variable, value, variables as var};

/// What describes one upstream, and so contradicts a file of them.
const OF_ONE: [&Variable; 9] = [
    &var::OPENAI_BASE_URL,
    &var::UPSTREAM_ID,
    &var::UPSTREAM_CA_FILE,
    &var::UPSTREAM_MAX_INPUTS,
    &var::UPSTREAM_MAX_TOKENS,
    &var::UPSTREAM_MAX_BYTES,
    &var::UPSTREAM_REQUESTS_PER_MINUTE,
    &var::UPSTREAM_TOKENS_PER_MINUTE,
    &var::UPSTREAM_ENCODING,
];

/// Where the upstreams are described.
#[derive(Debug)]
pub enum UpstreamsConfig {
    /// In variables: one.
    One(Box<UpstreamConfig>),
    /// In a file: one or more.
    File(Box<UpstreamsFile>),
}

/// A file of upstreams, and what holds where it says nothing else.
#[derive(Clone, Debug)]
pub struct UpstreamsFile {
    /// The file.
    pub path: PathBuf,
    /// What an upstream is unless the file says otherwise.
    pub usual: UpstreamConfig,
    /// Whether callers' own credentials go upstream.
    pub passes_credentials: bool,
    /// The variables that may hold credentials.
    pub environment: HashMap<String, SecretString>,
}

/// The upstreams, and which of them give the same vectors.
#[derive(Clone, Debug, PartialEq)]
pub struct UpstreamSet {
    /// In the order in which they are asked.
    pub upstreams: Vec<UpstreamConfig>,
    /// Models that have upstreams of their own.
    pub models: Vec<ModelConfig>,
}

/// The upstreams that give the same vectors for a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelConfig {
    /// The clients' name for it.
    pub name: Arc<str>,
    /// Their places in [`UpstreamSet::upstreams`]. The first is the one that gives its id.
    pub upstreams: Vec<usize>,
    /// What stands for these upstreams in every key, if the operator says so.
    pub id: Option<String>,
}

impl UpstreamsConfig {
    pub(super) fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let usual = UpstreamConfig::read(reader);
        let Some(path) = reader.optional(&var::UPSTREAMS_FILE, value::path) else {
            return usual.map(Box::new).map(Self::One);
        };
        for variable in OF_ONE {
            if reader.given.contains_key(variable.name) {
                let reason = format!("contradicts {}", var::UPSTREAMS_FILE.name);
                reader.refuse(variable, &reason);
            }
        }
        let given = reader.given.iter();
        let secret = |(name, value): (&String, &String)| (name.clone(), value.clone().into());
        Some(Self::File(Box::new(UpstreamsFile {
            path,
            environment: given.map(secret).collect(),
            passes_credentials: !is_of_gateway(reader),
            usual: usual?,
        })))
    }
}

/// Whether the gateway's own credentials go upstream, while a file describes the upstreams: then
/// the operator says who may spend them.
pub(super) fn is_of_gateway(reader: &Reader<'_>) -> bool {
    let is_set = |variable: &Variable| reader.given.get(variable.name);
    is_set(&var::CLIENT_KEYS_FILE).is_some()
        || is_set(&var::ALLOW_ANONYMOUS).is_some_and(|value| value == "true")
}

impl UpstreamSet {
    /// A set of one upstream, for all models.
    pub fn of_one(upstream: UpstreamConfig) -> Self {
        Self {
            upstreams: vec![upstream],
            models: Vec::new(),
        }
    }

    /// A set of several. A model that only upstreams' own names tell of is the first one's of those.
    pub(super) fn new(upstreams: Vec<UpstreamConfig>, mut models: Vec<ModelConfig>) -> Self {
        let known = models.iter().map(|model| Arc::clone(&model.name));
        let mut known: HashSet<Arc<str>> = known.collect();
        for (place, upstream) in upstreams.iter().enumerate() {
            for name in upstream.models.keys() {
                if known.insert(Arc::clone(name)) {
                    models.push(ModelConfig {
                        name: Arc::clone(name),
                        upstreams: vec![place],
                        id: None,
                    });
                }
            }
        }
        Self { upstreams, models }
    }

    /// What stands for the upstreams of a model in every key: the operator's id for them, or that
    /// of the first of them, with its own name for the model if it has one. So one that joins them
    /// leaves keys as they are, and no other model at the first one has the same.
    pub fn identity(&self, model: &ModelConfig) -> Option<String> {
        let first = self.upstreams.get(*model.upstreams.first()?)?;
        Some(match (&model.id, first.models.get(&model.name)) {
            (Some(id), _) => id.clone(),
            (None, None) => first.id.clone(),
            // A query, which follows one such byte, is never empty.
            (None, Some(own)) => format!("{}\0\0{own}", first.id),
        })
    }
}
