//! The file of upstreams: TOML, in which every field is known or refused.

mod credential;
mod raw;

use std::path::Path;

use toml::Spanned;

use self::raw::{RawFile, RawModel, RawSetting, RawUpstream};
use super::upstreams::{ModelConfig, UpstreamSet, UpstreamsFile};
use super::{CallLimits, EgressProxy, RateLimits, UpstreamConfig, proxy, upstream, value};

/// A file with every field in it, for `--help` and the documents.
pub const EXAMPLE: &str = include_str!("upstreams_file/example.toml");

/// A priority or a weight above is a mistake.
const MAX_NUMBER: u32 = 1000;

/// The file says what cannot be. Neither its text nor a credential is part of it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {reason}")]
pub struct FileProblem {
    /// The line, from 1.
    pub line: usize,
    /// What is wrong, in words for the operator, and at which field.
    pub reason: String,
}

/// Reads the file that a credential is in.
pub type ReadFile<'a> = &'a dyn Fn(&Path) -> std::io::Result<Vec<u8>>;

/// The text of the file, and what its fields are read with.
struct Parser<'a> {
    text: &'a str,
    file: &'a UpstreamsFile,
    read: ReadFile<'a>,
}

type Field = Option<Spanned<RawSetting>>;

impl UpstreamsFile {
    /// The upstreams that `text` describes. `read` reads the files of credentials.
    pub fn parse(&self, text: &str, read: ReadFile<'_>) -> Result<UpstreamSet, FileProblem> {
        let parser = Parser {
            text,
            file: self,
            read,
        };
        parser.parse()
    }
}

impl Parser<'_> {
    fn parse(&self) -> Result<UpstreamSet, FileProblem> {
        let raw: RawFile = toml::from_str(self.text).map_err(|error| {
            let at = error.span().map_or(0, |span| span.start);
            self.problem(at, error.message())
        })?;
        let mut upstreams = Vec::new();
        for (name, raw) in &raw.upstreams {
            let upstream = self.upstream(name.get_ref(), raw)?;
            upstreams.push((upstream.priority, name.span().start, upstream));
        }
        upstreams.sort_by_key(|(priority, place, _)| (*priority, *place));
        let upstreams: Vec<_> = upstreams.into_iter().map(|(_, _, one)| one).collect();
        if upstreams.is_empty() {
            return Err(self.problem(0, "upstreams: there is none"));
        }
        self.check_callers(&raw, &upstreams)?;
        let mut models = Vec::new();
        for (name, model) in &raw.models {
            models.push(self.model(name.get_ref(), name.span().start, model, &upstreams)?);
        }
        Ok(UpstreamSet::new(upstreams, models))
    }

    fn upstream(&self, name: &str, raw: &RawUpstream) -> Result<UpstreamConfig, FileProblem> {
        let usual = &self.file.usual;
        let field = |key: &str| format!("upstreams.{name}.{key}");
        let base_url = self.required(&field("base_url"), &raw.base_url, value::base_url)?;
        let id = self.field(&field("id"), &raw.id, value::text)?;
        let encoding = self.field(&field("encoding"), &raw.encoding, value::encoding)?;
        let serves = self.field(&field("serves"), &raw.serves, serves_all)?;
        let models = raw.models.iter();
        let own = |(model, own): (&String, &String)| (model.as_str().into(), own.as_str().into());
        Ok(UpstreamConfig {
            name: name.into(),
            id: id.unwrap_or_else(|| base_url.to_string()),
            base_url,
            headers: self.headers(name, raw)?,
            // One that is the clients' name says nothing.
            models: models
                .filter(|(model, own)| model != own)
                .map(own)
                .collect(),
            priority: self.number(&field("priority"), &raw.priority)?,
            weight: self.number(&field("weight"), &raw.weight)?,
            serves_all: serves.unwrap_or(true),
            ca_file: self.field(&field("ca_file"), &raw.ca_file, value::path)?,
            proxy: match self.field(&field("proxy"), &raw.proxy, proxy_of)? {
                Some(own) => own,
                None => usual.proxy.clone(),
            },
            encoding: encoding.unwrap_or(usual.encoding),
            limits: self.call_limits(&field("limits"), raw)?,
            rate: self.rate_limits(&field("limits"), raw)?,
            ..usual.clone()
        })
    }

    fn call_limits(&self, field: &str, raw: &RawUpstream) -> Result<CallLimits, FileProblem> {
        let (raw, usual) = (&raw.limits, self.file.usual.limits);
        let inputs = self.field(&format!("{field}.inputs"), &raw.inputs, value::count)?;
        let tokens = self.field(&format!("{field}.tokens"), &raw.tokens, value::count)?;
        let bytes = self.field(&format!("{field}.bytes"), &raw.bytes, value::size_from(1))?;
        Ok(CallLimits {
            inputs: inputs.unwrap_or(usual.inputs),
            tokens: tokens.unwrap_or(usual.tokens),
            bytes: bytes.unwrap_or(usual.bytes),
        })
    }

    fn rate_limits(&self, field: &str, raw: &RawUpstream) -> Result<RateLimits, FileProblem> {
        let limit = |key: &str, value| {
            let field = format!("{field}.{key}");
            self.field(&field, value, upstream::a_minute)
        };
        Ok(RateLimits {
            requests: limit("requests_per_minute", &raw.limits.requests_per_minute)?,
            tokens: limit("tokens_per_minute", &raw.limits.tokens_per_minute)?,
            wait: self.file.usual.rate.wait,
        })
    }

    fn model(
        &self,
        name: &str,
        at: usize,
        raw: &RawModel,
        upstreams: &[UpstreamConfig],
    ) -> Result<ModelConfig, FileProblem> {
        let mut places: Vec<usize> = Vec::new();
        for named in &raw.upstreams {
            let wanted = named.get_ref();
            let place = upstreams.iter().position(|one| *one.name == **wanted);
            let problem = |reason: &str| {
                let reason = format!("models.{name}.upstreams: {wanted:?} {reason}");
                self.problem(named.span().start, &reason)
            };
            let place = place.ok_or_else(|| problem("is no upstream of this file"))?;
            if places.contains(&place) {
                return Err(problem("stands there twice"));
            }
            places.push(place);
        }
        if places.is_empty() {
            let reason = format!("models.{name}.upstreams: names none");
            return Err(self.problem(at, &reason));
        }
        let id = self.field(&format!("models.{name}.id"), &raw.id, value::text)?;
        Ok(ModelConfig {
            name: name.into(),
            upstreams: places,
            id,
        })
    }

    fn number(&self, name: &str, field: &Field) -> Result<u32, FileProblem> {
        let number = self.field(name, field, |text| {
            let number = text.parse().ok();
            number
                .filter(|number| (1..=MAX_NUMBER).contains(number))
                .ok_or_else(|| format!("must be a number from 1 to {MAX_NUMBER}"))
        })?;
        Ok(number.unwrap_or(1))
    }

    fn required<T>(
        &self,
        name: &str,
        field: &Spanned<RawSetting>,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Result<T, FileProblem> {
        let problem = |reason| self.problem(field.span().start, &format!("{name}: {reason}"));
        match field.get_ref().0.as_str() {
            "" => Err(problem("must not be empty".to_owned())),
            text => parse(text).map_err(problem),
        }
    }

    fn field<T>(
        &self,
        name: &str,
        field: &Field,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Result<Option<T>, FileProblem> {
        let field = field.as_ref();
        field
            .map(|field| self.required(name, field, parse))
            .transpose()
    }

    fn problem(&self, at: usize, reason: &str) -> FileProblem {
        let before = self.text.get(..at).unwrap_or(self.text);
        FileProblem {
            line: before.matches('\n').count() + 1,
            reason: reason.trim().replace('\n', "; "),
        }
    }
}

fn serves_all(value: &str) -> Result<bool, String> {
    match value {
        "all" => Ok(true),
        "embeddings" => Ok(false),
        _ => Err("must be all or embeddings".into()),
    }
}

fn proxy_of(value: &str) -> Result<Option<EgressProxy>, String> {
    if value == "none" {
        return Ok(None);
    }
    Ok(Some(EgressProxy {
        url: proxy::url(value)?,
        except: None,
        is_for_all: true,
    }))
}

#[cfg(test)]
mod tests;
