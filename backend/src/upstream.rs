//! The upstream: who answers what the cache cannot.

mod client;
mod shared_body;

pub use self::client::{Client, ClientError, Reply};
