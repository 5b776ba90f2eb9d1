//! The gateway's process: configuration, service, signals, graceful shutdown.

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use embedding_gateway::config::command_line::Program;
use embedding_gateway::config::{Config, VARIABLES};
use embedding_gateway::gateway::app::App;
use embedding_gateway::gateway::service::Gateway;
use embedding_gateway::http::server;
use embedding_gateway::telemetry;
use tokio::net::TcpListener;
use tokio::time::timeout_at;

/// musl's own allocator is 25 times slower at many small allocations on many threads.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const PROGRAM: Program = Program {
    name: "embedding-gateway",
    about: "An OpenAI-compatible gateway that pays for an embedding once.",
    variables: VARIABLES,
};

fn main() -> ExitCode {
    PROGRAM.start(Config::from_env, run)
}

#[tokio::main]
async fn run(config: Config) -> anyhow::Result<()> {
    let _last_lines = telemetry::start_logging(config.log_format, &config.log_filter)?;
    let (listen, limits, grace) = (config.listen, config.limits.clone(), config.shutdown_grace);
    let mut base_url = config.upstream.base_url.clone();
    // It may hold a key.
    base_url.set_query(None);
    let (store, traces) = (kind_of_store(&config), collector(&config));
    let memory_bytes = config.cache.memory_bytes;
    let app = App::start(config).await?;
    // Before the kubelet can find the process ready, and then stop it.
    let stop = server::stop_signal(grace, || app.start_draining())?;
    let listener = TcpListener::bind(listen)
        .await
        .with_context(|| format!("LISTEN: {listen}"))?;
    let address = listener.local_addr()?;
    tracing::info!(%address, upstream = %base_url, memory_bytes, store, traces, "ready");

    let service = Gateway::new(Arc::clone(&app)).into_service();
    let deadline = tokio::select! {
        deadline = server::serve(listener, service, &limits, stop) => deadline,
        never = app.watch() => match never {},
    };
    match timeout_at(deadline, app.finish()).await {
        Ok(()) => tracing::info!("stopped"),
        Err(_) => tracing::warn!("stopped with calls or writes unfinished"),
    }
    app.finish_traces(deadline).await;
    Ok(())
}

fn kind_of_store(config: &Config) -> &'static str {
    let store = config.store.as_ref();
    store.map_or("none", |store| store.place.kind())
}

/// The collector's address for the log, without its path, which may hold a key.
fn collector(config: &Config) -> String {
    let tracing = config.tracing.as_ref();
    tracing.map_or_else(
        || "off".to_owned(),
        |tracing| tracing.endpoint.origin().ascii_serialization(),
    )
}
