//! The routes. Each is thin: it reads a request, calls the resolver, cache or upstream, and writes
//! an answer.

pub mod embeddings;
pub mod health;
pub mod page;
pub mod passthrough;
pub mod purge;
