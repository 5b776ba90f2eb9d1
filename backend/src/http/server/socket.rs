//! The options of a client's socket.

use std::io;

use socket2::SockRef;
use tokio::net::TcpStream;

/// What the kernel takes of answers beyond what the client has room for. With megabytes of them in the kernel, a client
/// that reads little by little would look like one that reads nothing.
const UNSENT_BYTES: u32 = 256 << 10;

/// Small answers are not late, and large ones go to the kernel as the client reads (tcp(7)).
pub(super) fn set_options(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    SockRef::from(stream).set_tcp_notsent_lowat(UNSENT_BYTES)
}
