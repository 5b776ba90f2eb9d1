//! What the HTTP services and clients share: the accept loop, the client, headers, tags and
//! credentials, the error envelope.

pub mod authorities;
pub mod byte_budget;
pub mod client;
pub mod codings;
pub(crate) mod collect;
pub mod credentials;
pub mod error;
pub mod headers;
pub mod paths;
pub mod probes;
pub mod process;
mod purge_rule;
pub mod server;
pub mod tags;
