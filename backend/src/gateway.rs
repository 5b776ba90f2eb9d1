//! The gateway's service: admits requests, routes them to handlers, and records their ends.

pub mod app;
mod azure;
pub mod body_hash;
pub mod cors;
pub mod derivations;
mod memory_limit;
pub mod observed_body;
pub mod routes;
pub mod service;
pub mod status;
pub mod upstreams;

pub use self::app::App;
pub use self::service::Gateway;
