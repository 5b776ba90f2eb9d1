//! An OpenAI-compatible gateway that pays for an embedding once.
//!
//! Folders stand in rows, and each imports only from rows below its own:
//!
//! 1. [`gateway`], [`broadcaster`]: the two services; [`tool`]: what an operator does with a store
//! 2. [`resolver`]: from inputs to vectors
//! 3. [`cache`], [`upstream`], [`access`]
//! 4. [`telemetry`]
//! 5. [`http`]: what all services and clients share
//! 6. [`config`], [`embeddings`]: pure
//!
//! `tests/rooms.rs` holds that. The programs in `bin/` put the rooms together.
#![forbid(unsafe_code)]

pub mod access;
pub mod broadcaster;
pub mod cache;
pub mod config;
pub mod embeddings;
pub mod gateway;
pub mod http;
pub mod resolver;
pub mod telemetry;
pub mod tool;
pub mod upstream;
