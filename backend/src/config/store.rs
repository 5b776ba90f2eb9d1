//! `STORE`, and what of it the S3 variables may say instead.

use reqwest::Url;

use super::reader::Reader;
use super::variables as var;
use super::{AwsSettings, Store, StorePlace, value};

const AWS_PREFIX: &str = "AWS_";

impl Store {
    /// `Some(None)`: configured, and there is none.
    pub(super) fn read(reader: &mut Reader<'_>) -> Option<Option<Self>> {
        let bucket = reader.optional(&var::S3_BUCKET, bucket);
        let endpoint = reader.optional(&var::S3_ENDPOINT, endpoint);
        let timeout = reader.read(&var::STORE_TIMEOUT, value::duration);
        let queue = reader.read(&var::STORE_QUEUE, value::size);
        let admission = reader.read(&var::STORE_ADMISSION, value::admission);
        let min_tokens = reader.read(&var::STORE_MIN_TOKENS, value::parsed);

        let mut place = match (reader.optional(&var::STORE, place), bucket) {
            (Some(place), bucket) => {
                if let (Some(StorePlace::S3 { bucket: named, .. }), Some(bucket)) = (&place, bucket)
                    && *named != bucket
                {
                    reader.refuse(&var::S3_BUCKET, "contradicts STORE: set one of them");
                }
                place
            }
            (None, Some(bucket)) => Some(s3(bucket, "")),
            (None, None) => None,
        };
        if let Some(StorePlace::S3 {
            endpoint: to_fill,
            settings,
            ..
        }) = &mut place
        {
            *to_fill = endpoint;
            *settings = aws_settings(reader);
        }
        let (timeout, queue) = (timeout?, queue?);
        let (admission, min_tokens) = (admission?, min_tokens?);
        Some(place.map(|place| Self {
            place,
            timeout,
            queue,
            admission,
            min_tokens,
        }))
    }
}

/// `None` for `none`.
fn place(value: &str) -> Result<Option<StorePlace>, String> {
    match value.split_once(':') {
        None if value == "none" => Ok(None),
        Some(("memory", "")) => Ok(Some(StorePlace::Memory)),
        Some(("file", path)) => directory(path).map(Some),
        Some(("s3", rest)) if rest.starts_with("//") => {
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

fn endpoint(value: &str) -> Result<String, String> {
    let url: Url = value
        .parse()
        .map_err(|error| format!("is not a URL: {error}"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err("must start with http:// or https://".into());
    }
    Ok(value.trim_end_matches('/').to_owned())
}

fn aws_settings(reader: &Reader<'_>) -> AwsSettings {
    let standard = reader
        .given
        .iter()
        .filter(|(name, _)| name.starts_with(AWS_PREFIX));
    let mut settings: Vec<_> = standard.map(|(n, v)| (n.clone(), v.clone())).collect();
    settings.sort();
    AwsSettings(settings)
}
