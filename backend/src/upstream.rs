//! The upstream: the API behind the gateway.

mod client;
mod shared_body;
mod silence;

pub use self::client::{AnswerRoom, Client, ClientError, Reply};
