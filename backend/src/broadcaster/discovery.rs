//! Resolves a Service's name to all addresses behind it, anew for each purge.
//!
//! Not by `getaddrinfo`: musl's silently drops all addresses beyond 48, its threads cannot be
//! cancelled at a time-out, and it asks only the machine's own name server. This resolver reads
//! `/etc/hosts` and `/etc/resolv.conf`, with search domains and `ndots`, and turns to TCP when an
//! answer is too long for a datagram.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use hickory_resolver::config::{
    ConnectionConfig, LookupIpStrategy, NameServerConfig, ResolveHosts, ResolverConfig,
};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::op::Query;
use hickory_resolver::proto::rr::{Name, RecordType};
use hickory_resolver::{Hosts, TokioResolver};
use http::uri::Authority;
use tokio::time::timeout;

/// Two name servers get this part of the time for a name before the resolver asks the next ones.
const SHARE: u32 = 3;

/// Resolves names without a cache.
#[derive(Debug)]
pub(super) struct Discovery {
    servers: Option<Vec<SocketAddr>>,
    timeout: Duration,
}

/// No address was found.
#[derive(Debug, thiserror::Error)]
pub(super) enum ResolveError {
    #[error("{0}")]
    Dns(#[from] NetError),
    #[error("not resolved in time")]
    Timeout,
    #[error("the name has no address")]
    Empty,
}

impl Discovery {
    pub(super) fn new(servers: Option<Vec<SocketAddr>>, timeout: Duration) -> Self {
        Self { servers, timeout }
    }

    /// All addresses of the name, each once, with its port.
    pub(super) async fn addresses(
        &self,
        service: &Authority,
    ) -> Result<BTreeSet<SocketAddr>, ResolveError> {
        let host = service.host().trim_matches(['[', ']']);
        let addresses = match host.parse::<IpAddr>() {
            Ok(address) => BTreeSet::from([address]),
            Err(_) => timeout(self.timeout, self.lookup(host))
                .await
                .map_err(|_| ResolveError::Timeout)??,
        };
        if addresses.is_empty() {
            return Err(ResolveError::Empty);
        }
        let port = service.port_u16().unwrap_or_default();
        let with_port = |address| SocketAddr::new(address, port);
        Ok(addresses.into_iter().map(with_port).collect())
    }

    async fn lookup(&self, host: &str) -> Result<BTreeSet<IpAddr>, NetError> {
        if self.servers.is_none() {
            let listed = listed(host)?;
            if !listed.is_empty() {
                return Ok(listed);
            }
        }
        // A new one for each look-up: it caches, and its files may have changed.
        let found = self.resolver()?.lookup_ip(host).await?;
        Ok(found.iter().collect())
    }

    fn resolver(&self) -> Result<TokioResolver, NetError> {
        let mut builder = match &self.servers {
            None => TokioResolver::builder_tokio()?,
            Some(servers) => {
                let servers = servers.iter().map(name_server).collect();
                let config = ResolverConfig::from_parts(None, vec![], servers);
                TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
            }
        };
        let options = builder.options_mut();
        options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
        options.use_hosts_file = ResolveHosts::Never;
        options.timeout = options.timeout.min(self.timeout / SHARE);
        builder.build()
    }
}

/// The addresses in `/etc/hosts`, which win over name servers.
fn listed(host: &str) -> Result<BTreeSet<IpAddr>, NetError> {
    let hosts = Hosts::from_system().unwrap_or_default();
    let name = Name::from_ascii(host)?.to_lowercase();
    let listed = [RecordType::A, RecordType::AAAA]
        .into_iter()
        .filter_map(|kind| hosts.lookup_static_host(&Query::query(name.clone(), kind)))
        .flat_map(|lookup| lookup.answers().to_vec())
        .filter_map(|record| record.data.ip_addr());
    Ok(listed.collect())
}

fn name_server(address: &SocketAddr) -> NameServerConfig {
    let mut connections = vec![ConnectionConfig::udp(), ConnectionConfig::tcp()];
    for connection in &mut connections {
        connection.port = address.port();
    }
    NameServerConfig::new(address.ip(), true, connections)
}
