//! The HTTP proxy on the way to an upstream.

use std::fmt;

use reqwest::Url;

use super::reader::Reader;
use super::variables as var;

/// A proxy, which upstreams over TLS are reached through by CONNECT.
#[derive(Clone, PartialEq, Eq)]
pub struct EgressProxy {
    /// Where it is. It may hold the gateway's credential for the proxy.
    pub url: Url,
    /// The hosts that are reached without it, as `NO_PROXY` lists them.
    pub except: Option<String>,
    /// Whether upstreams without TLS are reached through it, too.
    pub is_for_all: bool,
}

/// The proxy that the environment names for all that it does not except.
pub(super) fn of_environment(reader: &mut Reader<'_>) -> Option<EgressProxy> {
    let except = reader.optional(&var::NO_PROXY, super::value::text);
    let url = reader.optional(&var::HTTPS_PROXY, url)?;
    Some(EgressProxy {
        url,
        except,
        is_for_all: false,
    })
}

/// A proxy's URL, with or without a scheme.
pub(super) fn url(value: &str) -> Result<Url, String> {
    let spelt = match value.contains("://") {
        true => value.to_owned(),
        false => format!("http://{value}"),
    };
    let url = spelt.parse().ok();
    url.filter(|url: &Url| matches!(url.scheme(), "http" | "https") && url.has_host())
        .ok_or_else(|| "must be a proxy's URL, as in http://proxy:3128".into())
}

impl fmt::Debug for EgressProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "EgressProxy({})",
            self.url.origin().ascii_serialization()
        )
    }
}
