//! `STORE`, and the S3 variables that may stand in for it.

mod s3_client;

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use self::s3_client::{aws_settings, endpoint};
use super::reader::{Problem, Reader, configured, environment_with_store};
use super::value;
use super::variables as var;

/// An address has no more ports to connect from.
const MAX_CONNECTIONS: usize = 65_535;

/// The store: where vectors survive a restart.
#[derive(Debug)]
pub struct StoreConfig {
    /// What kind of store, and where.
    pub place: StorePlace,
    /// For the look-up of one entry, all attempts together.
    pub timeout: Duration,
    /// How many look-ups of all requests together run side by side.
    pub connections: usize,
    /// How many writes may wait.
    pub queue: usize,
    /// How many bytes of them.
    pub queue_bytes: u64,
    /// Which vectors are written.
    pub admission: StoreAdmission,
    /// Vectors that cost fewer tokens are not written.
    pub min_tokens: u32,
}

/// Which vectors are written to the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreAdmission {
    /// All, as soon as they are paid for.
    Always,
    /// Those that clients ask for a second time.
    SecondUse,
}

/// The kinds of store.
#[derive(Debug, PartialEq, Eq)]
pub enum StorePlace {
    /// An S3 bucket.
    S3 {
        /// The bucket's name.
        bucket: String,
        /// In front of every object name; may be empty.
        prefix: String,
        /// The URL of an S3 server other than AWS.
        endpoint: Option<String>,
        /// The standard `AWS_*` variables.
        settings: AwsSettings,
    },
    /// A local directory.
    Directory(PathBuf),
    /// Memory, which survives nothing: for tests.
    Memory,
}

impl StorePlace {
    /// As `STORE` names it.
    pub fn url(&self) -> String {
        match self {
            Self::S3 { bucket, prefix, .. } => format!("s3://{bucket}/{prefix}"),
            Self::Directory(path) => format!("file://{}", path.display()),
            Self::Memory => "memory:".to_owned(),
        }
    }

    /// The kind in one word, for logs and the page.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::S3 { .. } => "s3",
            Self::Directory(_) => "directory",
            Self::Memory => "memory",
        }
    }
}

/// `AWS_*` variables by name. Some are secrets, so `Debug` shows none.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct AwsSettings(pub Vec<(String, String)>);

impl fmt::Debug for AwsSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.0.iter().map(|(name, _)| name))
            .finish()
    }
}

impl StoreConfig {
    /// Reads the store's part of the process's environment, with this store in place of the one
    /// that it names. `None`: neither names one.
    pub fn named(store: Option<&str>) -> Result<Option<Self>, Vec<Problem>> {
        configured(environment_with_store(store), Self::read)
    }

    /// `Some(None)`: the operator set up no store.
    pub(super) fn read(reader: &mut Reader<'_>) -> Option<Option<Self>> {
        let bucket = reader.optional(&var::S3_BUCKET, bucket);
        let endpoint = reader.optional(&var::S3_ENDPOINT, endpoint);
        let timeout = reader.read(&var::STORE_TIMEOUT, value::patience);
        let connections = reader.read(&var::STORE_CONNECTIONS, connections);
        let queue = reader.read(&var::STORE_QUEUE, value::count);
        let queue_bytes = reader.read(&var::STORE_QUEUE_BYTES, value::bytes);
        let admission = reader.read(&var::STORE_ADMISSION, value::admission);
        let min_tokens = reader.read(&var::STORE_MIN_TOKENS, value::parsed);

        let mut place = read_place(reader, bucket);
        if let Some(StorePlace::S3 {
            endpoint: to_fill,
            settings,
            ..
        }) = &mut place
        {
            *to_fill = endpoint;
            *settings = aws_settings(reader);
        }
        let (timeout, connections) = (timeout?, connections?);
        let (queue, queue_bytes) = (queue?, queue_bytes?);
        let (admission, min_tokens) = (admission?, min_tokens?);
        Some(place.map(|place| Self {
            place,
            timeout,
            connections,
            queue,
            queue_bytes,
            admission,
            min_tokens,
        }))
    }
}

/// What `STORE` says, else `S3_BUCKET`.
fn read_place(reader: &mut Reader<'_>, bucket: Option<String>) -> Option<StorePlace> {
    let Some(place) = reader.optional(&var::STORE, place) else {
        return bucket.map(|bucket| s3(bucket, ""));
    };
    if let (Some(StorePlace::S3 { bucket: named, .. }), Some(bucket)) = (&place, bucket)
        && *named != bucket
    {
        reader.refuse(&var::S3_BUCKET, "contradicts STORE: set one of them");
    }
    place
}

/// `None` for `none`.
fn place(value: &str) -> Result<Option<StorePlace>, String> {
    match value.split_once(':') {
        None if value == "none" => Ok(None),
        Some(("memory", "")) => Ok(Some(StorePlace::Memory)),
        Some(("file", path)) => directory(path).map(Some),
        Some(("s3", rest)) if rest.starts_with("//") => {
            if rest.contains(['?', '#']) {
                return Err("takes no query: S3_ENDPOINT and AWS_* say the rest".into());
            }
            let (name, prefix) = rest[2..].split_once('/').unwrap_or((&rest[2..], ""));
            Ok(Some(s3(bucket(name)?, prefix)))
        }
        _ => Err("must be s3://bucket/prefix, file:///directory, memory: or none".into()),
    }
}

fn directory(path: &str) -> Result<StorePlace, String> {
    let path = path.strip_prefix("//").unwrap_or(path);
    let absolute = path.starts_with('/');
    absolute
        .then(|| StorePlace::Directory(path.into()))
        .ok_or_else(|| "a directory must be absolute, as in file:///var/cache/vectors".into())
}

fn s3(bucket: String, prefix: &str) -> StorePlace {
    StorePlace::S3 {
        bucket,
        prefix: prefix.trim_matches('/').to_owned(),
        endpoint: None,
        settings: AwsSettings::default(),
    }
}

fn bucket(value: &str) -> Result<String, String> {
    let fits = !value.is_empty()
        && value
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'));
    fits.then(|| value.to_owned())
        .ok_or_else(|| "is not a bucket's name".into())
}

fn connections(value: &str) -> Result<usize, String> {
    let connections: usize = value::parsed(value)?;
    let fits = (1..=MAX_CONNECTIONS).contains(&connections);
    fits.then_some(connections)
        .ok_or_else(|| format!("must be from 1 to {MAX_CONNECTIONS}"))
}
