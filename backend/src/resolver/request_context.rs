//! What a request takes along wherever work is done for it.

use std::sync::Arc;

use super::permits::RequestHold;
use crate::http::byte_budget::Reservation;
use crate::http::error::Error;
use crate::telemetry::Trace;

/// What a request holds, and its trace.
#[derive(Clone, Debug, Default)]
pub struct RequestContext {
    /// A purge holds nothing.
    pub hold: Option<Arc<RequestHold>>,
    /// Its trace.
    pub trace: Trace,
}

impl RequestContext {
    /// Reserves bytes until the last work for the request has ended.
    pub fn reserve(&self, bytes: usize) -> Result<(), Error> {
        let hold = self.hold.as_ref();
        hold.map_or(Ok(()), |hold| hold.bytes().grow(bytes))
    }

    /// A reservation for what ends before the request does.
    pub fn reservation(&self) -> Reservation {
        let hold = self.hold.as_ref();
        hold.map_or_else(Reservation::default, |hold| hold.bytes().beside())
    }

    /// Counts bytes that are there already and were paid for.
    pub fn count(&self, bytes: usize) {
        if let Some(hold) = &self.hold {
            hold.bytes().count(bytes);
        }
    }
}
