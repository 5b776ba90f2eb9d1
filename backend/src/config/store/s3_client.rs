//! Where the S3 client finds its server, and the `AWS_*` variables.

use reqwest::Url;

use super::AwsSettings;
use crate::config::reader::{Problem, Reader};

const AWS_PREFIX: &str = "AWS_";

/// The S3 client's own names for a server's URL. Its errors name the URL whole.
const AWS_ENDPOINTS: [&str; 5] = [
    "AWS_ENDPOINT",
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT_URL_S3",
    "AWS_ENDPOINT_URL_STS",
    "AWS_METADATA_ENDPOINT",
];

/// Also named in errors, and asked by a query where the platform wants one.
const AWS_CREDENTIALS_URL: &str = "AWS_CONTAINER_CREDENTIALS_FULL_URI";

/// The URL of an S3 server.
pub(super) fn endpoint(value: &str) -> Result<String, String> {
    let url = without_user(value)?;
    if url.query().is_some() || url.fragment().is_some() {
        return Err("must not hold a query or fragment".into());
    }
    Ok(value.trim_end_matches('/').to_owned())
}

fn without_user(value: &str) -> Result<Url, String> {
    let url: Url = value
        .parse()
        .map_err(|error| format!("is not a URL: {error}"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err("must start with http:// or https://".into());
    }
    // Errors of the store name its URL.
    match url.username().is_empty() && url.password().is_none() {
        true => Ok(url),
        false => Err("must not hold a user or password".into()),
    }
}

/// The `AWS_*` variables, which the S3 client gets as they are. It reads their names in any case.
pub(super) fn aws_settings(reader: &mut Reader<'_>) -> AwsSettings {
    let standard = reader
        .given
        .iter()
        .filter(|(name, _)| name.starts_with(AWS_PREFIX));
    let mut settings: Vec<_> = standard.map(|(n, v)| (n.clone(), v.clone())).collect();
    settings.sort();
    let wrong = settings
        .iter()
        .filter_map(|(name, value)| problem(name, value));
    reader.problems.extend(wrong);
    AwsSettings(settings)
}

fn problem(name: &str, value: &str) -> Option<Problem> {
    let is = |known: &&str| known.eq_ignore_ascii_case(name);
    let (variable, reason) = match AWS_ENDPOINTS.into_iter().find(is) {
        Some(variable) => (variable, endpoint(value).err()?),
        None if is(&AWS_CREDENTIALS_URL) => (AWS_CREDENTIALS_URL, without_user(value).err()?),
        None => return None,
    };
    Some(Problem { variable, reason })
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    fn problems(name: &str, value: &str) -> Vec<String> {
        let given = HashMap::from([(name.to_owned(), value.to_owned())]);
        let (given, problems) = (&given, Vec::new());
        let mut reader = Reader { given, problems };
        aws_settings(&mut reader);
        reader.problems.iter().map(Problem::to_string).collect()
    }

    #[test]
    fn no_url_of_the_s3_client_holds_a_secret() {
        let urls = AWS_ENDPOINTS.into_iter().chain([AWS_CREDENTIALS_URL]);
        for name in urls.chain(["AWS_endpoint_url"]) {
            for url in ["http://host:9000", "https://host/path/"] {
                assert!(problems(name, url).is_empty(), "{name}={url}");
            }
            for url in [
                "http://user:hunter2@host",
                "http://user@host",
                "http://:hunter2@host",
                "user:hunter2@host",
                "http://user:hunter2@host:port",
            ] {
                let found = problems(name, url);
                assert_eq!(found.len(), 1, "{name}={url}");
                assert!(found[0].starts_with(&name.to_uppercase()), "{found:?}");
                assert!(!found[0].contains("hunter2"), "{found:?}");
            }
        }
        for name in AWS_ENDPOINTS {
            assert_eq!(problems(name, "http://host/?key=hunter2").len(), 1);
        }
        // A proxy may want a password, and the S3 client names none.
        for (name, value) in [
            ("AWS_PROXY_URL", "http://user:hunter2@proxy:3128"),
            ("AWS_ROLE_ARN", "arn:aws:iam::1:role/r@s"),
            (AWS_CREDENTIALS_URL, "http://169.254.170.23/v1?id=1"),
        ] {
            assert_eq!(problems(name, value), [] as [String; 0]);
        }
    }
}
