//! The context that all work for a request carries.

use super::permits::ConcurrencyPermit;
use crate::telemetry::Trace;

/// A request's permit and trace.
#[derive(Clone, Debug, Default)]
pub struct RequestContext {
    /// Its permit; purges need none.
    pub permit: Option<ConcurrencyPermit>,
    /// Its trace.
    pub trace: Trace,
}
