//! The gateway's process: configuration, service, signals, graceful shutdown; or a command of the
//! tool.

use std::pin::pin;
use std::process::ExitCode;
use std::sync::{Arc, OnceLock};

use anyhow::Context as _;
use embedding_gateway::config::command_line::Program;
use embedding_gateway::config::{Config, UPSTREAMS_EXAMPLE, UpstreamsConfig, VARIABLES};
use embedding_gateway::gateway::app::App;
use embedding_gateway::gateway::service::Gateway;
use embedding_gateway::http::{process, server};
use embedding_gateway::{telemetry, tool};
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, timeout_at};

/// musl's own allocator is 25 times slower at many small allocations on many threads.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const PROGRAM: Program = Program {
    name: "embedding-gateway",
    about: "An OpenAI-compatible gateway that pays for an embedding once.",
    variables: VARIABLES,
    example: Some(("UPSTREAMS_FILE", UPSTREAMS_EXAMPLE)),
    commands: tool::COMMANDS,
};

fn main() -> ExitCode {
    tool::run(std::env::args_os()).unwrap_or_else(|| PROGRAM.start(Config::from_env, run))
}

fn run(config: Config) -> anyhow::Result<()> {
    process::run(serve(config))?
}

async fn serve(config: Config) -> anyhow::Result<()> {
    let _last_lines = telemetry::start_logging(config.log_format, config.log_filter.clone())?;
    let (listen, limits, grace) = (config.listen, config.limits.clone(), config.shutdown_grace);
    let upstream = upstream(&config);
    let (store, traces) = (kind_of_store(&config), collector(&config));
    let memory_bytes = config.cache.memory_bytes;
    // Before anything that may hang, and before the kubelet can find the process ready.
    let started: Arc<OnceLock<Arc<App>>> = Arc::default();
    let draining = Arc::clone(&started);
    let stop = server::stop_signal(grace, move || {
        if let Some(app) = draining.get() {
            App::start_draining(app);
        }
    })?;
    let mut stop = pin!(stop);
    // On a thread of its own: a store on a network file system may keep it.
    let starting = spawn_blocking(move || Handle::current().block_on(App::start(config)));
    let app = tokio::select! {
        app = starting => app??,
        _ = &mut stop => return Ok(()),
    };
    let app = Arc::clone(started.get_or_init(|| app));
    let listener = TcpListener::bind(listen)
        .await
        .with_context(|| format!("LISTEN: {listen}"))?;
    let address = listener.local_addr()?;
    tracing::info!(%address, upstream, memory_bytes, store, traces, "ready");

    let service = Gateway::new(Arc::clone(&app)).into_service();
    let deadline = tokio::select! {
        deadline = server::serve(listener, service, &limits, stop) => deadline,
        never = app.watch() => match never {},
    };
    finish(&app, deadline).await;
    Ok(())
}

async fn finish(app: &App, deadline: Instant) {
    match timeout_at(deadline, app.finish()).await {
        Ok(()) => tracing::info!("stopped"),
        Err(_) => tracing::warn!("stopped with calls or writes unfinished"),
    }
    app.finish_traces(deadline).await;
}

fn kind_of_store(config: &Config) -> &'static str {
    let store = config.store.as_ref();
    store.map_or("none", |store| store.place.kind())
}

/// The upstream's URL, or the file of them.
fn upstream(config: &Config) -> String {
    match &config.upstreams {
        UpstreamsConfig::One(upstream) => {
            let mut base_url = upstream.base_url.clone();
            // It may hold a key.
            base_url.set_query(None);
            base_url.into()
        }
        UpstreamsConfig::File(file) => file.path.display().to_string(),
    }
}

/// The collector's address for the log, without its path, which may hold a key.
fn collector(config: &Config) -> String {
    let tracing = config.tracing.as_ref();
    tracing.map_or_else(
        || "off".to_owned(),
        |tracing| tracing.endpoint.origin().ascii_serialization(),
    )
}
