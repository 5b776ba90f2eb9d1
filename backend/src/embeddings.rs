//! The pure part: what a request means, which key names a vector, and which of an upstream's
//! vectors are sound.
//!
//! Nothing below does I/O or reads a clock, so all of it is tested as functions of its input.

pub mod answer;
pub mod batch;
pub mod clock;
mod decimal;
pub mod entry;
mod json;
pub mod key;
pub mod object;
pub mod record;
pub mod request;
pub mod response;
pub mod similarity;
pub mod usage;
pub mod vector;
