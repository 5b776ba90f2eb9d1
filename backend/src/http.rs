//! What services and clients of HTTP have in common: the accept loop, the client, headers and
//! what they name, the error envelope.

pub mod client;
pub mod credentials;
pub mod error;
pub mod headers;
pub mod paths;
pub mod probes;
mod purge_rule;
pub mod server;
pub mod tags;
pub mod trust;
