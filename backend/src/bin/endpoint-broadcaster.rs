//! The endpoint-broadcaster's process: configuration, service, signals, graceful shutdown.

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use embedding_gateway::broadcaster::config::{BroadcasterConfig, VARIABLES};
use embedding_gateway::broadcaster::{Broadcaster, build_router};
use embedding_gateway::config::command_line::Program;
use embedding_gateway::http::{process, server};
use embedding_gateway::telemetry;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::time::timeout_at;

const PROGRAM: Program = Program {
    name: "endpoint-broadcaster",
    about: "Purges the backend, and then every Varnish behind a headless Service at once.",
    variables: VARIABLES,
    example: None,
    commands: &[],
};

fn main() -> ExitCode {
    PROGRAM.start(BroadcasterConfig::from_env, run)
}

fn run(config: BroadcasterConfig) -> anyhow::Result<()> {
    process::run(serve(config))?
}

async fn serve(config: BroadcasterConfig) -> anyhow::Result<()> {
    let _last_lines = telemetry::start_logging(config.log_format, config.log_filter.clone())?;
    let (listen, connections) = (config.listen, config.connections);
    let (varnish, backend) = (
        config.services.varnish.clone(),
        config.services.backend.clone(),
    );
    let grace = config.shutdown_grace;
    let broadcaster = Broadcaster::new(config)?;
    // Before the kubelet can find the process ready, and then stop it.
    let stop = server::stop_signal(grace, || broadcaster.start_draining())?;
    let listener = TcpListener::bind(listen)
        .await
        .with_context(|| format!("LISTEN: {listen}"))?;
    let address = listener.local_addr()?;
    tracing::info!(%address, %varnish, %backend, "ready");

    let service = TowerToHyperService::new(build_router(Arc::clone(&broadcaster)));
    let deadline = server::serve(listener, service, connections, stop).await;
    match timeout_at(deadline, broadcaster.finish()).await {
        Ok(()) => tracing::info!("stopped"),
        Err(_) => tracing::warn!("stopped with purges unfinished"),
    }
    Ok(())
}
