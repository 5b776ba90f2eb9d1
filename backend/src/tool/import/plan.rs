//! Under which keys vectors are written, and what is written with them: as the server would.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use super::{ImportOptions, caller, identity};
use crate::access::{Access, Misnamed, Named};
use crate::cache::Freshness;
use crate::cache::store::Archive;
use crate::config::Config;
use crate::config::command_line::complain;
use crate::embeddings::entry::{Entry, MAX_MODEL_BYTES};
use crate::embeddings::key::{Key, KeyBuilder, KeyScope};
use crate::embeddings::record::{Record, RecordFault};
use crate::embeddings::request::{self, EmbeddingRequest, Parsed, Rules};
use crate::embeddings::vector::Vector;
use crate::tool::failure::{CommandError, CommandResult};
use crate::tool::time;

/// What all records of a file have in common.
#[derive(Debug)]
pub(super) struct Plan {
    rules: Rules,
    keys: KeyBuilder,
    request: EmbeddingRequest,
    answered: Arc<str>,
    scope: Arc<str>,
    upstream: Arc<str>,
    created_ms: u64,
    pub(super) replace: bool,
    pub(super) freshness: Freshness,
}

/// Why a record is not taken.
#[derive(Debug, thiserror::Error)]
pub(super) enum RecordRefusal {
    #[error(transparent)]
    RecordFault(#[from] RecordFault),
    #[error("is of the model {0:?}")]
    Model(String),
    #[error("has {found} numbers instead of {wanted}")]
    Length { wanted: usize, found: usize },
}

impl Plan {
    pub(super) async fn new(
        options: &ImportOptions,
        config: &Config,
        archive: &Archive,
        changed_ms: u64,
    ) -> CommandResult<Self> {
        let rules = Rules {
            max_inputs: config.limits.inputs,
            max_input_bytes: config.limits.input_bytes,
            cacheable_fields: config.cache.fields.clone(),
        };
        let request = request_of(options, &rules)?;
        if request.dimensions.is_some() && config.cache.derived_models.contains(&options.model) {
            complain(
                "--dimensions: DERIVE_DIMENSIONS names this model, so gateways look for its full vectors",
            );
        }
        let scope = scope_of(options, config, &request.model).await?;
        let upstream = identity::of(config, &request.model, archive).await?;
        let key_scope = KeyScope {
            namespace: config.cache.namespace.as_str().into(),
            upstream: Arc::clone(&upstream),
            scope: Arc::clone(&scope),
        };
        let freshness = archive
            .freshness(&request.model, &scope, config.cache.entry_max_age)
            .await?;
        let created_ms = options.created.unwrap_or(changed_ms).min(archive.now_ms());
        is_fresh(created_ms, freshness)?;
        Ok(Self {
            keys: KeyBuilder::new(&key_scope, &request),
            answered: answered(options, &request)?,
            rules,
            request,
            scope,
            upstream,
            created_ms,
            replace: options.replace,
            freshness,
        })
    }

    /// Reads a line, and names its key.
    pub(super) fn read(&self, line: &Bytes) -> Result<(Key, Record), RecordRefusal> {
        let record = Record::parse(line, &self.rules)?;
        if let Some(model) = &record.model
            && **model != *self.request.model
            && **model != *self.answered
        {
            return Err(RecordRefusal::Model(model.clone()));
        }
        if let Some(wanted) = self.request.dimensions {
            has_length(&record, wanted as usize)?;
        }
        Ok((self.keys.key(&record.input), record))
    }

    /// What is stored of a record.
    pub(super) fn entry(&self, record: Record) -> Entry {
        let (tokens, _) = record.tokens_or_estimate();
        Entry {
            model: Arc::clone(&self.answered),
            tokens,
            created_ms: self.created_ms,
            vector: Vector::new(record.floats),
        }
    }
}

/// Whether a record's vector is as long as that.
pub(super) fn has_length(record: &Record, wanted: usize) -> Result<(), RecordRefusal> {
    let found = record.floats.len() / size_of::<f32>();
    match found == wanted {
        true => Ok(()),
        false => Err(RecordRefusal::Length { wanted, found }),
    }
}

/// The request by which a client asks for these vectors, read as the server reads it.
fn request_of(options: &ImportOptions, rules: &Rules) -> CommandResult<EmbeddingRequest> {
    let fields: Option<serde_json::Map<_, _>> = serde_json::from_str(&options.fields).ok();
    if fields.is_none() {
        return Err(CommandError::misused("--fields: must be a JSON object"));
    }
    let model = serde_json::Value::from(options.model.as_str());
    let mut body = format!(r#"{{"model":{model},"input":"a""#);
    if let Some(dimensions) = options.dimensions {
        body.push_str(&format!(r#","dimensions":{dimensions}"#));
    }
    // As they are written: numbers are part of the key digit by digit.
    let fields = options.fields.trim().trim_start_matches('{');
    if !fields.trim_start().starts_with('}') {
        body.push(',');
    }
    body.push_str(fields);
    match request::parse(&Bytes::from(body), rules) {
        Ok(Parsed::Understood(request)) => Ok(request),
        Ok(Parsed::Foreign(_)) | Err(_) => Err(CommandError::misused(
            "--model, --dimensions, --fields: a gateway would not cache the answer to such a \
             request (a field that is not among CACHEABLE_FIELDS, or a wrong type)",
        )),
    }
}

/// The scope of the vectors, if the gateway serves their model at all.
async fn scope_of(
    options: &ImportOptions,
    config: &Config,
    model: &str,
) -> CommandResult<Arc<str>> {
    let access = Access::new(&config.access);
    let access =
        access.map_err(|_| CommandError::misused("OPENAI_API_KEY: cannot be sent in a header"))?;
    if access.check_model(Some(model)).is_err() {
        let why = format!("--model: {model:?} is not among ALLOWED_EMBEDDING_MODELS");
        return Err(CommandError::misused(why));
    }
    let keys = access.read_client_keys().await;
    keys.map_err(|error| CommandError::broken(format!("CLIENT_KEYS_FILE: {error}")))?;
    let named = Named {
        headers: options.caller.as_deref().map(caller::read).transpose()?,
        organization: options.organization.as_deref(),
    };
    access.named_scope(named).map_err(|misnamed| {
        CommandError::misused(match misnamed {
            Misnamed::NoCaller => {
                "each caller has vectors for itself: --caller must say whose these are (or \
                 CACHE_SCOPE=shared that all share them, as at the server)"
            }
            Misnamed::NoOrganization => {
                "CACHE_SCOPE is organization: --organization must say for which these are"
            }
            Misnamed::Surplus => {
                "--caller, --organization: decide nothing here: the environment says by \
                 CACHE_SCOPE, OPENAI_API_KEY and CLIENT_KEYS_FILE that vectors are shared otherwise"
            }
            Misnamed::NoCredential => "--caller: holds no header that is a credential",
            Misnamed::UnknownKey => "--caller: CLIENT_KEYS_FILE does not admit this key",
        })
    })
}

fn answered(options: &ImportOptions, request: &EmbeddingRequest) -> CommandResult<Arc<str>> {
    match options.answered_model.as_deref() {
        None => Ok(Arc::clone(&request.model)),
        Some(name) if !name.is_empty() && name.len() <= MAX_MODEL_BYTES => Ok(name.into()),
        Some(_) => Err(CommandError::misused(
            "--answered-model: is no name of a model",
        )),
    }
}

/// Refuses what gateways would take for purged, or for too old.
fn is_fresh(created_ms: u64, freshness: Freshness) -> CommandResult {
    if freshness.allows_from(created_ms) {
        return Ok(());
    }
    let (created, after) = (
        time::text(created_ms),
        time::text(freshness.created_after_ms()),
    );
    Err(CommandError::broken(format!(
        "vectors of {created} would be missing at once: a purge, or ENTRY_MAX_AGE, has ended all \
         up to {after}. If these were paid for later, --created says so"
    )))
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let model = &self.request.model;
        write!(
            f,
            "import: {model:?}, answered as {:?}, of {}",
            self.answered,
            identity::shown(&self.upstream)
        )?;
        if let Some(dimensions) = self.request.dimensions {
            write!(f, ", \"dimensions\": {dimensions}")?;
        }
        if !self.request.extra.is_empty() {
            write!(f, ", {}", self.request.extra)?;
        }
        write!(
            f,
            ", scope {}, dated {}",
            self.scope,
            time::text(self.created_ms)
        )
    }
}
