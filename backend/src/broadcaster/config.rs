//! The broadcaster's configuration: environment variables, read once, all errors at once.
//!
//! [`VARIABLES`] names every one of them; `--help` and the table in `endpoint-broadcaster.md`
//! come from it.

mod variables;

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use hickory_resolver::proto::rr::Name;
use http::uri::Authority;
use secrecy::SecretString;
use tracing_subscriber::filter::Targets;

use self::variables as var;
pub use self::variables::VARIABLES;
use crate::config::reader::{Reader, configured, environment};
use crate::config::{LogFormat, Problem, PurgeRule, log_filter, value};
use crate::http::server::ConnectionLimits;

/// Everything that the environment decides.
#[derive(Debug)]
pub struct BroadcasterConfig {
    /// Where to accept connections.
    pub listen: SocketAddr,
    /// Which clients may purge.
    pub purge: PurgeRule,
    /// The services to purge.
    pub services: Services,
    /// Name servers; `None` uses those of `/etc/resolv.conf`.
    pub dns_servers: Option<Vec<SocketAddr>>,
    /// How long each step may take.
    pub timeouts: Timeouts,
    /// Purges at the same time.
    pub concurrent_purges: usize,
    /// Bounds of a connection.
    pub connections: ConnectionLimits,
    /// How long purges may go on after SIGTERM.
    pub shutdown_grace: Duration,
    /// How log lines look.
    pub log_format: LogFormat,
    /// Which log lines are written.
    pub log_filter: Targets,
}

/// The services to purge.
#[derive(Debug)]
pub struct Services {
    /// The headless Service of Varnish, with a port: each address is one Varnish.
    pub varnish: Authority,
    /// The backend's Service, with a port.
    pub backend: Authority,
    /// The token that the backend asks for.
    pub backend_token: Option<SecretString>,
}

/// How long each step may take.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// For resolving a name.
    pub resolve: Duration,
    /// For the backend's answer.
    pub backend: Duration,
    /// For each Varnish's answer.
    pub endpoint: Duration,
    /// Between the two purges of a Varnish; zero purges once.
    pub again: Duration,
}

impl BroadcasterConfig {
    /// Reads the process's environment.
    pub fn from_env() -> Result<Self, Vec<Problem>> {
        Self::from_variables(environment())
    }

    /// Reads the given variables. An empty value counts as absent.
    pub fn from_variables(
        variables: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, Vec<Problem>> {
        configured(variables, Self::read)
    }

    fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let listen = reader.read(&var::LISTEN, value::parsed);
        let services = Services::read(reader);
        let purge = read_purge_rule(reader);
        let dns_servers = reader.optional(&var::DNS_SERVERS, addresses);
        let timeouts = Timeouts::read(reader);
        let concurrent_purges = reader.read(&var::MAX_CONCURRENT_PURGES, value::count);
        let header_bytes = reader.read(&var::MAX_HEADER_BYTES, value::header_size);
        let header_timeout = reader.read(&var::HEADER_TIMEOUT, value::client_patience);
        let connections = reader.read(&var::MAX_CONNECTIONS, value::count);
        let shutdown_grace = read_grace(reader, timeouts);
        let log_format = reader.read(&var::LOG_FORMAT, value::log_format);
        let log_filter = reader.read(&var::RUST_LOG, log_filter::parse);
        Some(Self {
            listen: listen?,
            purge: purge?,
            services: services?,
            dns_servers,
            timeouts: timeouts?,
            concurrent_purges: concurrent_purges?,
            connections: ConnectionLimits {
                header_bytes: header_bytes?,
                header_timeout: header_timeout?,
                connections: connections?,
            },
            shutdown_grace: shutdown_grace?,
            log_format: log_format?,
            log_filter: log_filter?,
        })
    }
}

impl Services {
    fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let varnish = reader.required(&var::VARNISH_SERVICE, authority);
        let backend = reader.required(&var::BACKEND_SERVICE, authority);
        let backend_token = reader.optional(&var::BACKEND_ADMIN_TOKEN, value::secret);
        // One of the two would never be purged, although every answer would report success.
        if varnish.is_some() && varnish == backend {
            reader.refuse(&var::VARNISH_SERVICE, "must not be BACKEND_SERVICE too");
        }
        Some(Self {
            varnish: varnish?,
            backend: backend?,
            backend_token,
        })
    }
}

impl Timeouts {
    fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let resolve = reader.read(&var::RESOLVE_TIMEOUT, value::patience);
        let backend = reader.read(&var::BACKEND_TIMEOUT, value::patience);
        let endpoint = reader.read(&var::ENDPOINT_TIMEOUT, value::patience);
        let again = reader.read(&var::PURGE_AGAIN_AFTER, value::duration);
        Some(Self {
            resolve: resolve?,
            backend: backend?,
            endpoint: endpoint?,
            again: again?,
        })
    }
}

/// One of both variables is required: a broadcaster that no client may use is a mistake.
fn read_purge_rule(reader: &mut Reader<'_>) -> Option<PurgeRule> {
    let noted = reader.problems.len();
    let rule = PurgeRule::read(reader, &var::ADMIN_TOKEN, &var::ALLOW_ANONYMOUS_PURGE);
    if rule.is_none() && reader.problems.len() == noted {
        reader.refuse(
            &var::ADMIN_TOKEN,
            "no client could purge: set it, or ALLOW_ANONYMOUS_PURGE=true if the network decides \
             who may call",
        );
    }
    rule
}

/// At least as long as one purge takes: a purge that reached half of the caches would be worse than
/// none.
fn read_grace(reader: &mut Reader<'_>, timeouts: Option<Timeouts>) -> Option<Duration> {
    let grace = reader.read(&var::SHUTDOWN_GRACE, value::duration)?;
    let longest = timeouts.map(|timeouts| {
        let Timeouts {
            resolve,
            backend,
            endpoint,
            again,
        } = timeouts;
        let varnish = endpoint.saturating_mul(2).saturating_add(again);
        resolve.saturating_add(backend).saturating_add(varnish)
    });
    if longest.is_some_and(|longest| grace <= longest) {
        reader.refuse(
            &var::SHUTDOWN_GRACE,
            "must be longer than RESOLVE_TIMEOUT, BACKEND_TIMEOUT and ENDPOINT_TIMEOUT together",
        );
    }
    Some(grace)
}

/// `name:port`, `address:port` or `[address]:port`, and nothing else.
fn authority(value: &str) -> Result<Authority, String> {
    let expected = || "must be of the form name:port".to_owned();
    let authority: Authority = value.parse().map_err(|_| expected())?;
    let plain = authority.port_u16().is_some_and(|port| port > 0) && !value.contains('@');
    let host = authority.host().trim_matches(['[', ']']);
    let name = || !host.is_empty() && Name::from_ascii(host).is_ok();
    let known = host.parse::<IpAddr>().is_ok() || name();
    (plain && known).then_some(authority).ok_or_else(expected)
}

fn addresses(value: &str) -> Result<Vec<SocketAddr>, String> {
    let addresses = value.split(',').map(|address| address.trim().parse());
    let addresses: Result<Vec<_>, _> = addresses.collect();
    addresses.map_err(|_| "must be of the form address:port, with commas between several".into())
}

#[cfg(test)]
mod tests;
