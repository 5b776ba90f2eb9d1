//! The routes. Each is thin: it reads a request, asks somebody who knows, and writes an answer.

pub mod embeddings;
pub mod health;
pub mod page;
pub mod passthrough;
pub mod purge;
