//! How many connections there may be.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};

/// Connections beyond the bound, so that a crowded program can be probed, measured and purged.
const RESERVE: usize = 64;

/// What such a connection has to send its request.
const RESERVE_PATIENCE: Duration = Duration::from_secs(2);

/// Marks a request on a connection beyond the bound: only what must get through a busy program is
/// for it.
#[derive(Clone, Copy, Debug)]
pub struct BeyondBound;

/// The places of all connections.
#[derive(Clone, Debug)]
pub(super) struct Places {
    ordinary: Arc<Semaphore>,
    reserve: Arc<Semaphore>,
}

/// One connection's.
#[derive(Debug)]
pub(super) struct ConnectionPlace {
    _permit: OwnedSemaphorePermit,
    pub(super) is_reserve: bool,
}

impl Places {
    pub(super) fn new(connections: usize) -> Self {
        Self {
            ordinary: Arc::new(Semaphore::new(connections)),
            reserve: Arc::new(Semaphore::new(RESERVE)),
        }
    }

    /// A place for the next connection. While there is none, clients wait to be accepted.
    pub(super) async fn next(&self) -> Result<ConnectionPlace, AcquireError> {
        let (ordinary, reserve) = (Arc::clone(&self.ordinary), Arc::clone(&self.reserve));
        let (permit, is_reserve) = tokio::select! {
            biased;
            permit = ordinary.acquire_owned() => (permit?, false),
            permit = reserve.acquire_owned() => (permit?, true),
        };
        Ok(ConnectionPlace {
            _permit: permit,
            is_reserve,
        })
    }
}

impl ConnectionPlace {
    /// How long its client may take to send a request, and to read its answer.
    pub(super) fn patience(&self, usual: Duration) -> Duration {
        match self.is_reserve {
            true => usual.min(RESERVE_PATIENCE),
            false => usual,
        }
    }
}
