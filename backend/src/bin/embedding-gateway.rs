//! The gateway as a process: configuration, service, signals, an orderly end.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use embedding_gateway::app::App;
use embedding_gateway::config::{Config, VARIABLES};
use embedding_gateway::{build_router, server, telemetry};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, timeout_at};

/// Many small allocations on many threads; musl's own allocator is 25 times slower at that.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// As `EX_USAGE` of sysexits(3): a restart does not help.
const BAD_CONFIGURATION: u8 = 64;

fn main() -> ExitCode {
    match std::env::args().nth(1).as_deref() {
        None => {}
        Some("--help" | "-h") => {
            print!("{}", help());
            return ExitCode::SUCCESS;
        }
        Some("--version" | "-V") => {
            println!("embedding-gateway {}", env!("CARGO_PKG_VERSION"));
            return ExitCode::SUCCESS;
        }
        Some(_) => {
            eprintln!("embedding-gateway takes no arguments but --help and --version");
            return ExitCode::from(BAD_CONFIGURATION);
        }
    }
    let config = match Config::from_env() {
        Ok(config) => config,
        Err(problems) => {
            for problem in problems {
                eprintln!("{problem}");
            }
            return ExitCode::from(BAD_CONFIGURATION);
        }
    };
    match run(config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

#[tokio::main]
async fn run(config: Config) -> anyhow::Result<()> {
    let _last_lines = telemetry::start_logging(config.log_format, &config.log_filter)?;
    let (listen, limits, grace) = (config.listen, config.limits.clone(), config.shutdown_grace);
    let base_url = config.upstream.base_url.clone();
    let app = App::start(config).await?;
    // Before anybody may think that we are ready, and stop us.
    let stop = stop_signal(&app, grace)?;
    let listener = TcpListener::bind(listen)
        .await
        .with_context(|| format!("LISTEN: {listen}"))?;
    let address = listener.local_addr()?;
    tracing::info!(%address, upstream = %base_url, "ready");

    let router = build_router(Arc::clone(&app));
    let deadline = tokio::select! {
        deadline = server::serve(listener, router, &limits, stop) => deadline,
        never = app.watch() => match never {},
    };
    match timeout_at(deadline, app.finish()).await {
        Ok(()) => tracing::info!("stopped"),
        Err(_) => tracing::warn!("stopped with calls or writes unfinished"),
    }
    Ok(())
}

/// Waits for SIGTERM or SIGINT and says until when everything must be finished.
fn stop_signal(app: &App, grace: Duration) -> std::io::Result<impl Future<Output = Instant>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        app.start_draining();
        tracing::info!(grace_ms = grace.as_millis(), "stopping");
        Instant::now() + grace
    })
}

fn help() -> String {
    let mut help = "An OpenAI-compatible gateway that pays for an embedding once.\n\n\
                    It takes no arguments. Environment variables, with their defaults:\n"
        .to_owned();
    for variable in VARIABLES {
        help += &format!(
            "\n  {}={}\n      {}\n",
            variable.name, variable.default, variable.meaning
        );
    }
    help
}
