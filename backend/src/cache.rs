//! The tiers and their manners: memory, then the store. Neither can fail a request, and their
//! types say so: a look-up has an answer or none.

pub mod breaker;
pub mod coalesce;
pub mod memory;
pub mod store;
pub mod writer;
