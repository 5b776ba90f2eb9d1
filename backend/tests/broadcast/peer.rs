//! A fake backend or Varnish: it records requests, and answers as the test says.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Barrier;
use tokio::task::JoinSet;

/// What a peer does with a request.
#[derive(Clone)]
pub enum Manner {
    /// Sends these bytes and closes.
    Says(String),
    /// Answers the first request with 503, as a sidecar does, and the others like this.
    After503(Box<Self>),
    /// Reads on and never answers.
    Hangs,
    /// Begins an answer of 200 that does not end.
    NeverEnds,
    /// Answers 200 once the barrier's number of requests wait.
    Waits(Arc<Barrier>),
}

pub struct Peer {
    pub address: SocketAddr,
    received: Arc<Mutex<Vec<String>>>,
    _server: JoinSet<()>,
}

impl Peer {
    pub async fn start(at: SocketAddr, manner: Manner) -> Self {
        let listener = TcpListener::bind(at).await.unwrap();
        Self::on(listener, manner)
    }

    /// A peer that answers 200.
    pub async fn good() -> Self {
        Self::start("127.0.0.1:0".parse().unwrap(), Manner::purged("backend")).await
    }

    /// A peer that answers 200, but not before the test reaches the barrier too.
    pub async fn waiting() -> (Self, Arc<Barrier>) {
        let barrier = Arc::new(Barrier::new(2));
        let any = "127.0.0.1:0".parse().unwrap();
        let peer = Self::start(any, Manner::Waits(Arc::clone(&barrier))).await;
        (peer, barrier)
    }

    fn on(listener: TcpListener, manner: Manner) -> Self {
        let address = listener.local_addr().unwrap();
        let received = Arc::default();
        let mut server = JoinSet::new();
        server.spawn(serve(listener, manner, Arc::clone(&received)));
        Self {
            address,
            received,
            _server: server,
        }
    }

    /// The heads of the requests so far, as they came.
    pub fn received(&self) -> Vec<String> {
        self.received.lock().unwrap().clone()
    }

    /// Waits for its first request.
    pub async fn asked(&self) {
        while self.received().is_empty() {
            tokio::task::yield_now().await;
        }
    }
}

/// Peers at these addresses, with these behaviours, all on one port.
pub async fn peers(manners: &[(&str, Manner)]) -> Vec<Peer> {
    'ports: loop {
        let mut port = 0;
        let mut listeners = Vec::new();
        for (address, _) in manners {
            let address: IpAddr = address.parse().unwrap();
            // Another program may have the port at this address.
            let Ok(listener) = TcpListener::bind((address, port)).await else {
                continue 'ports;
            };
            port = listener.local_addr().unwrap().port();
            listeners.push(listener);
        }
        let manners = manners.iter().map(|(_, manner)| manner.clone());
        return listeners
            .into_iter()
            .zip(manners)
            .map(|(listener, manner)| Peer::on(listener, manner))
            .collect();
    }
}

impl Manner {
    pub fn answers(status: &str, body: &str) -> Self {
        let length = body.len();
        Self::Says(format!(
            "HTTP/1.1 {status}\r\ncontent-length: {length}\r\n\r\n{body}"
        ))
    }

    /// As Varnish does.
    pub fn purged(pod: &str) -> Self {
        Self::answers("200 OK", &format!(r#"{{"pod":"{pod}","banned":"all"}}"#))
    }
}

async fn serve(listener: TcpListener, manner: Manner, received: Arc<Mutex<Vec<String>>>) {
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        connections.spawn(converse(stream, manner.clone(), Arc::clone(&received)));
    }
}

async fn converse(
    mut stream: TcpStream,
    manner: Manner,
    received: Arc<Mutex<Vec<String>>>,
) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    let head = String::from_utf8(head).unwrap();
    let count = {
        let mut received = received.lock().unwrap();
        received.push(head.to_lowercase());
        received.len()
    };
    let manner = match manner {
        Manner::After503(_) if count == 1 => {
            Manner::answers("503 Service Unavailable", "no upstream")
        }
        Manner::After503(later) => *later,
        other => other,
    };
    match manner {
        Manner::After503(_) => Ok(()),
        Manner::Says(answer) => stream.write_all(answer.as_bytes()).await,
        Manner::Hangs => stream.read_u8().await.map(|_| ()),
        Manner::NeverEnds => {
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await?;
            loop {
                stream.write_all(&[b' '; 1024]).await?;
            }
        }
        Manner::Waits(barrier) => {
            barrier.wait().await;
            let Manner::Says(answer) = Manner::purged("waited") else {
                unreachable!()
            };
            stream.write_all(answer.as_bytes()).await
        }
    }
}
