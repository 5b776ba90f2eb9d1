//! A name server with one name, which answers as a test says, by UDP and TCP.

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::task::JoinSet;

/// The one name that has addresses.
pub const NAME: &str = "varnish.test.";

/// The type codes of the questions that it answers.
const A: u16 = 1;
const AAAA: u16 = 28;

/// Response codes.
const SERVFAIL: u8 = 2;
const NXDOMAIN: u8 = 3;

/// The records of the name.
#[derive(Clone, Debug)]
pub enum Knowledge {
    Addresses(Vec<IpAddr>),
    /// The same, but by TCP alone: datagrams are truncated.
    OnlyByTcp(Vec<IpAddr>),
    NoSuchName,
    Failure,
    Silence,
}

pub struct Zone {
    pub address: SocketAddr,
    state: Arc<State>,
    _servers: JoinSet<()>,
}

struct State {
    knowledge: Mutex<Knowledge>,
    asked: AtomicUsize,
}

impl Zone {
    pub async fn start(knowledge: Knowledge) -> Self {
        let (tcp, udp) = loop {
            let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
            if let Ok(udp) = UdpSocket::bind(tcp.local_addr().unwrap()).await {
                break (tcp, udp);
            }
        };
        let address = tcp.local_addr().unwrap();
        let state = Arc::new(State {
            knowledge: Mutex::new(knowledge),
            asked: AtomicUsize::new(0),
        });
        let mut servers = JoinSet::new();
        servers.spawn(serve_udp(udp, Arc::clone(&state)));
        servers.spawn(serve_tcp(tcp, Arc::clone(&state)));
        Self {
            address,
            state,
            _servers: servers,
        }
    }

    pub async fn with(addresses: &[&str]) -> Self {
        Self::start(Knowledge::Addresses(parsed(addresses))).await
    }

    /// From now on answers this.
    pub fn know(&self, knowledge: Knowledge) {
        *self.state.knowledge.lock().unwrap() = knowledge;
    }

    /// How many questions came.
    pub fn asked(&self) -> usize {
        self.state.asked.load(Ordering::Relaxed)
    }
}

pub fn parsed(addresses: &[&str]) -> Vec<IpAddr> {
    addresses.iter().map(|text| text.parse().unwrap()).collect()
}

async fn serve_udp(socket: UdpSocket, state: Arc<State>) {
    let mut question = [0; 512];
    loop {
        let (length, from) = socket.recv_from(&mut question).await.unwrap();
        if let Some(answer) = state.answer(&question[..length], true) {
            socket.send_to(&answer, from).await.unwrap();
        }
    }
}

async fn serve_tcp(listener: TcpListener, state: Arc<State>) {
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        connections.spawn(converse(stream, Arc::clone(&state)));
    }
}

/// Each message has its length in front.
async fn converse(mut stream: TcpStream, state: Arc<State>) -> std::io::Result<()> {
    loop {
        let length = stream.read_u16().await?;
        let mut question = vec![0; length.into()];
        stream.read_exact(&mut question).await?;
        if let Some(answer) = state.answer(&question, false) {
            stream.write_u16(answer.len().try_into().unwrap()).await?;
            stream.write_all(&answer).await?;
        }
    }
}

impl State {
    /// A message in answer to one question. Names are one label after the other, each with its
    /// length in front, and end with an empty one.
    fn answer(&self, message: &[u8], datagram: bool) -> Option<Vec<u8>> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let end = 12 + message[12..].iter().position(|&byte| byte == 0).unwrap() + 1;
        let wanted: Vec<u8> = NAME
            .split('.')
            .flat_map(|label| [&[u8::try_from(label.len()).unwrap()], label.as_bytes()].concat())
            .collect();
        let kind = u16::from_be_bytes([message[end], message[end + 1]]);
        let mut known = self.knowledge.lock().unwrap().clone();
        if message[12..end] != wanted {
            known = Knowledge::NoSuchName;
        }
        let (code, truncated, addresses) = match known {
            Knowledge::Silence => return None,
            Knowledge::Failure => (SERVFAIL, false, vec![]),
            Knowledge::NoSuchName => (NXDOMAIN, false, vec![]),
            Knowledge::OnlyByTcp(_) if datagram => (0, true, vec![]),
            Knowledge::Addresses(all) | Knowledge::OnlyByTcp(all) => (0, false, all),
        };
        let records: Vec<Vec<u8>> = addresses
            .into_iter()
            .filter_map(|address| record(kind, address))
            .collect();
        let mut answer = message[..2].to_vec();
        // A response, with recursion asked for and available.
        answer.extend([0x81 | u8::from(truncated) << 1, 0x80 | code, 0, 1]);
        answer.extend(u16::try_from(records.len()).unwrap().to_be_bytes());
        answer.extend([0; 4]);
        answer.extend(&message[12..end + 4]);
        answer.extend(records.concat());
        Some(answer)
    }
}

/// The address as a record of that type, good for a day; the name is the question's.
fn record(kind: u16, address: IpAddr) -> Option<Vec<u8>> {
    let data = match (kind, address) {
        (A, IpAddr::V4(address)) => address.octets().to_vec(),
        (AAAA, IpAddr::V6(address)) => address.octets().to_vec(),
        _ => return None,
    };
    let mut record = vec![0xc0, 12];
    record.extend(kind.to_be_bytes());
    record.extend([0, 1, 0, 1, 0x51, 0x80, 0]);
    record.push(data.len().try_into().unwrap());
    record.extend(data);
    Some(record)
}
