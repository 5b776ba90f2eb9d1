//! The upstream: the API behind the gateway.

mod client;
mod encodings;
mod lanes;
mod placed_body;
mod reply;
mod shared_body;
mod silence;

pub use self::client::{Client, ClientError, Question};
pub use self::reply::{AnswerRoom, Reply};
