//! Raw text on a connection of its own.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(30);

/// Sends text and reads until the gateway closes the connection.
pub async fn exchange(address: SocketAddr, sent: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    // The gateway may answer and close before it has read all.
    let _sent = stream.write_all(sent.as_bytes()).await;
    let mut seen = Vec::new();
    let _closed = timeout(PATIENCE, stream.read_to_end(&mut seen))
        .await
        .unwrap();
    String::from_utf8(seen).unwrap()
}
