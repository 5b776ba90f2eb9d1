//! The credential of an upstream, and the headers that every call to it has.

use std::path::Path;

use http::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use secrecy::{ExposeSecret, SecretString};

use super::raw::{RawFile, RawUpstream};
use super::{Field, FileProblem, Parser};
use crate::config::{UpstreamConfig, value};

/// The client's own credential goes upstream.
const OF_CALLER: &str = "caller";

/// The upstream takes none.
const NONE: &str = "none";

const IN_VARIABLE: &str = "env:";
const IN_FILE: &str = "file:";

/// Headers that a call has of its own.
const OF_CALL: [&str; 7] = [
    "host",
    "content-length",
    "content-type",
    "transfer-encoding",
    "connection",
    "accept-encoding",
    "upgrade",
];

fn is_of_caller(credential: &Field) -> bool {
    let credential = credential.as_ref();
    credential.is_some_and(|text| text.get_ref().0 == OF_CALLER)
}

impl Parser<'_> {
    /// The headers of every call, the credential among them.
    pub(super) fn headers(&self, name: &str, raw: &RawUpstream) -> Result<HeaderMap, FileProblem> {
        let mut headers = HeaderMap::new();
        for (key, text) in &raw.headers {
            let field = format!("upstreams.{name}.headers.{key}");
            let header = self.required(&field, text, |text| header(key, text))?;
            headers.insert(header.0, header.1);
        }
        let field = format!("upstreams.{name}.credential");
        let Some(given) = &raw.credential else {
            let at = raw.base_url.span().start;
            return Err(self.problem(at, &format!("{field}: {WANTED}")));
        };
        let Some(secret) = self.required(&field, given, |text| self.secret(text))? else {
            return Ok(headers);
        };
        let named = self.field(
            &format!("upstreams.{name}.credential_header"),
            &raw.credential_header,
            header_name,
        )?;
        let (header, value) =
            self.required(&field, given, |_| credential(named.clone(), &secret))?;
        headers.insert(header, value);
        Ok(headers)
    }

    /// A caller's credential is for one provider.
    pub(super) fn check_callers(
        &self,
        raw: &RawFile,
        upstreams: &[UpstreamConfig],
    ) -> Result<(), FileProblem> {
        let passes = self.file.passes_credentials;
        for (name, one) in &raw.upstreams {
            let of_caller = is_of_caller(&one.credential);
            let reason = match (passes, of_caller) {
                (true, false) => {
                    "callers could spend this: also set CLIENT_KEYS_FILE, or ALLOW_ANONYMOUS=true \
                     if the network decides who may call"
                }
                (false, true) => {
                    "contradicts CLIENT_KEYS_FILE and ALLOW_ANONYMOUS, with which the gateway's own \
                     credentials go upstream"
                }
                (true, true) if upstreams.len() > 1 => {
                    "callers' own credentials go to one provider: this must be the only upstream"
                }
                _ => continue,
            };
            let reason = format!("upstreams.{}.credential: {reason}", name.get_ref());
            let at = one
                .credential
                .as_ref()
                .map_or(0, |value| value.span().start);
            return Err(self.problem(at.max(name.span().start), &reason));
        }
        Ok(())
    }

    /// `None`: the gateway has no credential for this upstream.
    fn secret(&self, text: &str) -> Result<Option<SecretString>, String> {
        if text == OF_CALLER || text == NONE {
            return Ok(None);
        }
        if let Some(variable) = text.strip_prefix(IN_VARIABLE) {
            let secret = self.file.environment.get(variable);
            let secret = secret.ok_or_else(|| format!("the variable {variable} is not set"))?;
            return value::secret(secret.expose_secret()).map(Some);
        }
        let Some(path) = text.strip_prefix(IN_FILE) else {
            return Err(WANTED.into());
        };
        let read = (self.read)(Path::new(path));
        let read = read.map_err(|error| format!("{path} cannot be read: {error}"))?;
        let text = String::from_utf8(read).map_err(|_| format!("{path} is no text"))?;
        match text.trim() {
            "" => Err(format!("{path} is empty")),
            text => value::secret(text).map(Some),
        }
    }
}

const WANTED: &str = "must be env:VARIABLE, file:/path, caller or none";

fn header(name: &str, text: &str) -> Result<(HeaderName, HeaderValue), String> {
    let name = header_name(name)?;
    let value = HeaderValue::try_from(text).map_err(|_| "is no header's value".to_owned());
    let mut value = value?;
    value.set_sensitive(true);
    Ok((name, value))
}

fn header_name(name: &str) -> Result<HeaderName, String> {
    let header: HeaderName = name.parse().map_err(|_| "is no header's name".to_owned())?;
    match OF_CALL.contains(&header.as_str()) {
        true => Err(format!("{header} is the call's own")),
        false => Ok(header),
    }
}

fn credential(
    header: Option<HeaderName>,
    secret: &SecretString,
) -> Result<(HeaderName, HeaderValue), String> {
    let header = header.unwrap_or(AUTHORIZATION);
    let text = match header == AUTHORIZATION {
        true => format!("Bearer {}", secret.expose_secret()),
        false => secret.expose_secret().to_owned(),
    };
    let value = HeaderValue::try_from(text).map_err(|_| "cannot be sent in a header".to_owned());
    let mut value = value?;
    value.set_sensitive(true);
    Ok((header, value))
}
