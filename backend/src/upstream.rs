//! The upstreams: the APIs behind the gateway.

mod batches;
mod call;
mod call_limits;
mod choose;
mod client;
mod encodings;
mod forward;
mod group;
mod health;
mod lanes;
mod over_limit;
mod pace;
mod repeat;
mod reply;
mod shared_body;
mod silence;
mod trust;
mod upstreams;

pub use self::batches::Batches;
pub use self::call::CallContent;
pub use self::call_limits::Size;
pub use self::choose::Chosen;
pub use self::client::{Client, ClientError};
pub use self::group::{Group, Member};
pub use self::over_limit::OverLimit;
pub use self::pace::{PacedCall, Turn};
pub use self::reply::{AnswerBudget, UncheckedAnswer};
pub use self::trust::Trust;
pub use self::upstreams::{UpstreamSetError, Upstreams};
