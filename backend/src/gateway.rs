//! The gateway as a service: what comes in, who handles it, what is told of it.

pub mod app;
pub mod body_hash;
pub mod observed_body;
pub mod routes;
pub mod service;
pub mod status;

pub use self::app::App;
pub use self::service::Gateway;
