//! Failures of calls: which waiters they concern, and which end a batch.

use http::StatusCode;

use crate::access::Caller;
use crate::http::credentials::CredentialId;
use crate::http::error::Error;

/// The failure of a call, for its waiters.
#[derive(Clone, Debug)]
pub(super) struct CallFault {
    pub(super) error: Error,
    caller: Option<CredentialId>,
    payer: CredentialId,
}

impl CallFault {
    /// The failure of a call for `caller`.
    pub(super) fn new(error: Error, caller: &Caller) -> Self {
        let (caller, payer) = (caller.identity(), caller.payer);
        Self {
            error,
            caller,
            payer,
        }
    }

    /// Whether the waiter's own call would have failed too, and may know so. What the upstream
    /// said is for the caller that it said it to, even where both have one payer.
    pub(super) fn concerns(&self, waiter: &Caller) -> bool {
        match &self.error {
            Error::Refused(refusal) => {
                let limited = refusal.status == StatusCode::TOO_MANY_REQUESTS;
                let same = self.caller.is_some() && self.caller == waiter.identity();
                same && (limited || refusal.status.is_server_error())
            }
            // The turns are the leader's.
            Error::RateLimited { .. } => self.caller.is_some() && self.caller == waiter.identity(),
            // Another input of the leader's batch may be the cause, and the place is the leader's.
            Error::Unsound(_) | Error::InputRefused { .. } => false,
            _ => self.payer == waiter.payer,
        }
    }
}

/// Whether the other calls of the request would be refused as well.
pub(super) fn ends_all(error: &Error) -> bool {
    match error {
        Error::Refused(refusal) => matches!(
            refusal.status,
            StatusCode::UNAUTHORIZED
                | StatusCode::PAYMENT_REQUIRED
                | StatusCode::FORBIDDEN
                | StatusCode::NOT_FOUND
                | StatusCode::TOO_MANY_REQUESTS
        ),
        Error::GatewayKeyRefused | Error::InputRefused { .. } | Error::RateLimited { .. } => true,
        _ => false,
    }
}
