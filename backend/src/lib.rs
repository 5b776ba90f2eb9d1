//! An OpenAI-compatible gateway that pays for an embedding once.
//!
//! [`gateway::Gateway`] makes the service out of an [`app::App`]; [`server`] runs it on a socket.
#![forbid(unsafe_code)]

pub mod acceptance;
pub mod access;
pub mod app;
pub mod body_hash;
pub mod broadcast;
pub mod cache;
pub mod client_keys;
pub mod clock;
pub mod command_line;
pub mod config;
pub mod credentials;
pub mod embeddings;
pub mod error;
pub mod gateway;
pub mod headers;
pub mod hex;
pub mod openai;
mod percent;
mod purge_rule;
pub mod resolve;
pub mod routes;
pub mod running;
pub mod server;
pub mod status;
pub mod tags;
pub mod telemetry;
pub mod trust;
