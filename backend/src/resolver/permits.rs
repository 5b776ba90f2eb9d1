//! How many requests run at a time, and what each of them holds.

use std::sync::{Arc, OnceLock};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::http::byte_budget::{ByteBudget, Reservation};
use crate::http::error::Error;

/// What a request holds until the last work for it has ended: bytes of the budget from its head
/// on, and a place among the requests that run from when its body is there. A client that sends
/// its body slowly holds no place.
#[derive(Debug)]
pub struct RequestHold {
    bytes: Reservation,
    place: OnceLock<HeldPlace>,
}

/// A place among the requests that run.
#[derive(Debug)]
struct HeldPlace {
    _of_all: OwnedSemaphorePermit,
    _of_streams: Option<OwnedSemaphorePermit>,
}

/// The places of all requests.
#[derive(Debug)]
pub struct Permits {
    limit: usize,
    free: Arc<Semaphore>,
    /// Of these, those that streams may take: they last as long as an upstream or a client likes,
    /// and must leave some to requests for vectors.
    streams: Arc<Semaphore>,
}

impl Permits {
    /// Places for `limit` requests.
    pub fn new(limit: usize) -> Self {
        Self {
            limit,
            free: Arc::new(Semaphore::new(limit)),
            streams: Arc::new(Semaphore::new(limit - limit / 4)),
        }
    }

    /// Places that are taken.
    pub fn in_use(&self) -> usize {
        self.limit - self.free.available_permits()
    }
}

impl RequestHold {
    /// Holds nothing yet.
    pub fn new(budget: &ByteBudget) -> Self {
        Self {
            bytes: budget.reservation(),
            place: OnceLock::new(),
        }
    }

    /// The bytes that last as long as the request.
    pub fn bytes(&self) -> &Reservation {
        &self.bytes
    }

    /// Takes a place for a request whose body is there, if one is free.
    pub fn take_place(&self, permits: &Permits) -> Result<(), Error> {
        self.take(permits, None)
    }

    /// The same for one that is streamed.
    pub fn take_stream_place(&self, permits: &Permits) -> Result<(), Error> {
        let streams = Arc::clone(&permits.streams).try_acquire_owned();
        self.take(permits, Some(streams.map_err(|_| Error::Busy)?))
    }

    fn take(&self, permits: &Permits, streams: Option<OwnedSemaphorePermit>) -> Result<(), Error> {
        let place = Arc::clone(&permits.free).try_acquire_owned();
        let place = HeldPlace {
            _of_all: place.map_err(|_| Error::Busy)?,
            _of_streams: streams,
        };
        // A request takes its place once.
        let _first = self.place.set(place);
        Ok(())
    }
}
