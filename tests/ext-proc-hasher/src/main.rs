//! An Envoy external processor that gives requests the header `x-body-hash`, as well as one can be
//! written. It stands for the chain that the body-hash filter replaces: scripts/bench.sh compares
//! the two. Not for production.
//!
//! usage: `ext-proc-hasher ADDRESS`

mod messages;
mod service;

use mimalloc::MiMalloc;
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::Server;

use crate::service::Hasher;

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// Room for several bodies of 1 MiB, so that none waits for a window to open.
const WINDOW_BYTES: u32 = 64 << 20;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let address = std::env::args()
        .nth(1)
        .ok_or("usage: ext-proc-hasher ADDRESS")?;
    let listener = TcpListener::bind(address).await?;
    println!("listening on http://{}", listener.local_addr()?);
    Server::builder()
        .tcp_nodelay(true)
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES)
        .add_service(Hasher)
        .serve_with_incoming(TcpListenerStream::new(listener))
        .await?;
    Ok(())
}
