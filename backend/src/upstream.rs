//! The upstream: the API behind the gateway.

mod client;
mod shared_body;

pub use self::client::{Client, ClientError, Reply};
