//! The yardstick of the benchmarks for hits in the store: fetches the same objects again and
//! again with `object_store` alone, side by side, and prints the median time as JSON.
//!
//! usage: `bare_store BUCKET COUNT SECONDS`, and `AWS_*` in the environment

use std::time::{Duration, Instant};

use anyhow::Context as _;
use futures_util::{StreamExt, TryStreamExt, stream};
use mimalloc::MiMalloc;
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [bucket, count, seconds] = arguments.as_slice() else {
        anyhow::bail!("usage: bare_store BUCKET COUNT SECONDS");
    };
    let (count, seconds): (usize, u64) = (count.parse()?, seconds.parse()?);
    // The HTTP client is built without one, and looks for it even where it speaks plain HTTP.
    let provider = rustls::crypto::ring::default_provider();
    anyhow::ensure!(provider.install_default().is_ok(), "installed twice");
    let store = AmazonS3Builder::from_env()
        .with_bucket_name(bucket)
        .with_allow_http(true)
        .build()?;
    let listed = store
        .list(None)
        .take(count)
        .map_ok(|object| object.location);
    let paths: Vec<Path> = listed.try_collect().await?;
    anyhow::ensure!(paths.len() == count, "the bucket holds {}", paths.len());

    let end = Instant::now() + Duration::from_secs(seconds);
    let mut times = Vec::new();
    while Instant::now() < end {
        let began = Instant::now();
        fetch_all(&store, &paths).await?;
        times.push(began.elapsed());
    }
    times.sort_unstable();
    let median = times.get(times.len() / 2).context("no time at all")?;
    println!("{{\"p50_us\": {}}}", median.as_micros());
    Ok(())
}

async fn fetch_all(store: &AmazonS3, paths: &[Path]) -> object_store::Result<()> {
    let fetches =
        stream::iter(paths).map(|path| async move { store.get(path).await?.bytes().await });
    let all = fetches.buffer_unordered(paths.len());
    all.try_for_each(|_| std::future::ready(Ok(()))).await
}
