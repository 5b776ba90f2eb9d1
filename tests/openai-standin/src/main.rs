//! An offline stand-in for the OpenAI API, for demos and tests only: its vectors mean nothing.
//!
//! It answers in OpenAI's shapes, with its headers and its refusals, counts what it was asked
//! (`/stats`) and misbehaves on request (`/faults`, `/keys`). It knows nothing of the gateway, so
//! what the two agree on is the public API. `README.md` beside this file is the manual.

mod answer;
mod chat;
mod control;
mod embeddings;
mod exchange;
mod faults;
mod headers;
mod keys;
mod models;
mod rate;
mod refusal;
mod request;
mod stats;
mod variant;
mod vector;

use std::io::{self, Write};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::get;
use axum::serve::ListenerExt;
use clap::Parser;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use faults::Faults;
use keys::Keys;
use rate::Rate;
use stats::Stats;
use variant::Variant;

/// An offline stand-in for the OpenAI API, FOR DEMOS AND TESTS ONLY: its vectors mean nothing.
///
/// Serves /v1/embeddings, /v1/chat/completions, /v1/completions, /v1/responses, /v1/models and
/// /v1/files. GET /stats tells what was asked; PUT /faults and PUT /keys make it misbehave, PUT /vectors
/// changes its vectors, PUT /rate limits what it takes in a minute.
#[derive(Debug, Parser)]
#[command(name = "openai-standin")]
struct Arguments {
    /// Address to listen on; port 0 takes a free one.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    listen: SocketAddr,

    /// Milliseconds between two events of a stream.
    #[arg(long, value_name = "MS", default_value_t = 20)]
    event_delay_ms: u64,
}

/// What all requests share.
#[derive(Debug)]
struct Standin {
    stats: Arc<Stats>,
    faults: Mutex<Faults>,
    keys: Mutex<Keys>,
    variant: Mutex<Variant>,
    rate: Mutex<Rate>,
    event_delay: Duration,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("openai-standin: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> io::Result<()> {
    let listener = TcpListener::bind(arguments.listen).await?;
    let mut stopped = signal(SignalKind::terminate())?;
    // One line, flushed, so that the parent process can read the port.
    let address = listener.local_addr()?;
    println!("listening on http://{address} (for demos and tests only: the vectors mean nothing)");
    io::stdout().flush()?;
    // Or an answer in two writes waits 40 ms for the client to acknowledge the first.
    let listener = listener.tap_io(|connection| {
        let _late = connection.set_nodelay(true);
    });
    tokio::select! {
        served = async { axum::serve(listener, build_router(&arguments)).await } => served,
        interrupted = tokio::signal::ctrl_c() => interrupted,
        _ = stopped.recv() => Ok(()),
    }
}

fn build_router(arguments: &Arguments) -> Router {
    let standin = Arc::new(Standin {
        stats: Arc::default(),
        faults: Mutex::default(),
        keys: Mutex::default(),
        variant: Mutex::default(),
        rate: Mutex::default(),
        event_delay: Duration::from_millis(arguments.event_delay_ms),
    });
    Router::new()
        .route(
            "/stats",
            get(control::read_stats).delete(control::reset_stats),
        )
        .route(
            "/faults",
            get(control::read_faults)
                .put(control::set_faults)
                .delete(control::clear_faults),
        )
        .route(
            "/keys",
            get(control::read_keys)
                .put(control::set_keys)
                .delete(control::clear_keys),
        )
        .route(
            "/vectors",
            get(control::read_variant)
                .put(control::set_variant)
                .delete(control::clear_variant),
        )
        .route(
            "/rate",
            get(control::read_rate)
                .put(control::set_rate)
                .delete(control::clear_rate),
        )
        .fallback(exchange::serve)
        .layer(DefaultBodyLimit::disable())
        .with_state(standin)
}
