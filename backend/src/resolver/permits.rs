//! Bounds the requests that run at the same time.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::http::error::Error;

/// The permit of one request, held until the last work for the request has ended.
pub type ConcurrencyPermit = Arc<OwnedSemaphorePermit>;

/// The permits of all requests.
#[derive(Debug)]
pub struct Permits {
    limit: usize,
    free: Arc<Semaphore>,
}

impl Permits {
    /// Permits for `limit` requests.
    pub fn new(limit: usize) -> Self {
        Self {
            limit,
            free: Arc::new(Semaphore::new(limit)),
        }
    }

    /// A permit, if one is free.
    pub fn acquire(&self) -> Result<ConcurrencyPermit, Error> {
        let permit = Arc::clone(&self.free).try_acquire_owned();
        Ok(Arc::new(permit.map_err(|_| Error::Busy)?))
    }

    /// Permits in use.
    pub fn in_use(&self) -> usize {
        self.limit - self.free.available_permits()
    }
}
