//! Which failed calls may be sent once more, so that none is charged for twice.

use std::error::Error as _;
use std::io::{self, ErrorKind};
use std::iter::successors;
use std::time::Duration;

use tokio::time::Instant;

/// A reset comes so soon if the connection was closed before the request was read: after the time
/// of one way there and back, or when the upstream next looks at its idle connections.
const SOON: Duration = Duration::from_millis(250);

/// Whether the connection ended before an answer came. Most often the upstream closed an idle
/// connection just as the request was sent.
pub(super) fn broke_off(error: &reqwest::Error) -> bool {
    let causes = successors(error.source(), |&cause| cause.source());
    let mut causes = causes.into_iter();
    causes.any(|cause| {
        let ended = cause.downcast_ref::<hyper::Error>();
        ended.is_some_and(|e| e.is_incomplete_message() || e.is_canceled())
    }) || is_reset(error)
}

/// Whether the upstream closed the connection before it read a request that was sent at `sent`. Its
/// kernel then answers what came by a reset (RFC 1122, 4.2.2.13); a connection that is closed after
/// all of a request was read ends in order.
pub(super) fn was_unread(error: &reqwest::Error, sent: Instant) -> bool {
    sent.elapsed() < SOON && is_reset(error)
}

fn is_reset(error: &reqwest::Error) -> bool {
    let causes = successors(error.source(), |&cause| cause.source());
    causes.into_iter().any(|cause| {
        let io = cause.downcast_ref::<io::Error>().map(io::Error::kind);
        matches!(io, Some(ErrorKind::ConnectionReset | ErrorKind::BrokenPipe))
    })
}
