//! The upstream: the API behind the gateway.

mod call;
mod client;
mod encodings;
mod forward;
mod lanes;
mod placed_body;
mod reply;
mod shared_body;
mod silence;

pub use self::call::Question;
pub use self::client::{Client, ClientError};
pub use self::reply::{AnswerRoom, Reply};
