//! What a request takes along wherever work is done for it.

use super::permits::ConcurrencyPermit;
use crate::telemetry::Trace;

/// A request's place and its trace.
#[derive(Clone, Debug, Default)]
pub struct RequestContext {
    /// A purge needs none.
    pub permit: Option<ConcurrencyPermit>,
    /// Its trace.
    pub trace: Trace,
}
