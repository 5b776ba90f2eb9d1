//! The yardstick of the benchmarks: a bare axum handler that reads a request's body and answers
//! with the bytes of a file. It does nothing else, so no gateway can be faster.
//!
//! usage: `bare_handler ADDRESS FILE`

use axum::Router;
use axum::routing::post;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use mimalloc::MiMalloc;
use tokio::net::TcpListener;

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let (Some(address), Some(file)) = (arguments.next(), arguments.next()) else {
        anyhow::bail!("usage: bare_handler ADDRESS FILE");
    };
    let answer = Bytes::from(std::fs::read(file)?);
    let handler = move |_body: Bytes| {
        let answer = answer.clone();
        async move {
            (
                [(CONTENT_TYPE, HeaderValue::from_static("application/json"))],
                answer,
            )
        }
    };
    let listener = TcpListener::bind(address).await?;
    println!("listening on http://{}", listener.local_addr()?);
    Ok(axum::serve(
        listener,
        Router::new().route("/v1/embeddings", post(handler)),
    )
    .await?)
}
