//! What the suites beside it share: the gateway under test, and fakes of all that it talks to.
//!
//! A test begins with a [`Setup`], which starts an upstream and the gateway in front of it:
//!
//! ```text
//! let (upstream, gateway) = Setup::new().start().await;
//! let (upstream, gateway) = Setup::new().with("STORE", "memory:").start().await;
//! // Another gateway in front of an upstream that is there already.
//! let second = Setup::new().with_all(&bucket.variables()).before(&upstream).await;
//! ```
//!
//! | module | what it is |
//! |---|---|
//! | [`gateway`] | the real service in process: `embed`, `send`, `begin`, `serve`, `metric`; requests by `post`, `post_raw`, `with` |
//! | [`upstream`] | remembers every call, and answers well or as `answers` and `answers_json` say |
//! | [`bucket`] | an S3 server with faults |
//! | [`collector`] | takes spans by OTLP over HTTP and gRPC |
//! | [`sockets`] | text on a connection of its own, as it is |
//! | [`waiting`] | until a condition holds, instead of a sleep |
//! | [`clock`] | time that passes only where a test lets it: no time-out depends on the machine |
//! | [`secrets`] | searches what all gateways log, count and refuse for the keys of all tests; every `Setup` takes part by itself |

pub mod bucket;
pub mod clock;
pub mod collector;
pub mod gateway;
pub mod secrets;
mod setup;
pub mod sockets;
pub mod upstream;
pub mod waiting;

pub use setup::{Setup, UpstreamsFile};
