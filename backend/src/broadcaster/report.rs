//! The result of a purge at each Varnish and each missed replica of the backend, as the client
//! reads it.

use std::net::IpAddr;
use std::time::Duration;

use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use serde::{Deserialize, Serialize};

use super::call::{Failure, PeerAnswer};
use crate::http::error::NO_STORE;
use crate::telemetry::labels::label;

/// The longest name of a pod that Kubernetes allows.
const MAX_POD_NAME_BYTES: usize = 253;

/// The result of a purge, address by address.
#[derive(Debug, Default, Serialize)]
pub(super) struct Report {
    /// Addresses of Varnish that the broadcaster called, and those of the backend that it missed.
    pub(super) total: usize,
    /// Those that purged.
    pub(super) success: usize,
    /// Those that did not confirm the purge.
    pub(super) failed: usize,
    /// Each of them.
    pub(super) results: Vec<Endpoint>,
}

/// One address and its answer.
#[derive(Debug, Serialize)]
pub(super) struct Endpoint {
    /// The name by which Varnish identifies itself, else the address.
    pub(super) pod: String,
    /// The status of its answer, if it gave one.
    pub(super) status: Option<u16>,
    /// Whether it purged.
    pub(super) success: bool,
    /// If not: why.
    pub(super) error: Option<String>,
    #[serde(skip)]
    pub(super) duration: Duration,
}

label! {
    /// How a purge ended.
    "outcome" pub(super) PurgeOutcome {
        /// Every Varnish purged.
        All = "all",
        /// Some did.
        Some = "some",
        /// None did.
        None = "none",
        /// The name has no address.
        NoAddress = "no_address",
        /// The broadcaster refused the request.
        Refused = "refused",
        /// Too many purges were running.
        Busy = "busy",
        /// The backend did not purge, so the broadcaster called no Varnish.
        BackendFailed = "backend_failed",
    }
}

impl Report {
    pub(super) fn new(results: Vec<Endpoint>) -> Self {
        let success = results.iter().filter(|result| result.success).count();
        Self {
            total: results.len(),
            success,
            failed: results.len() - success,
            results,
        }
    }

    /// How the purge ended.
    pub(super) fn outcome(&self) -> PurgeOutcome {
        match (self.success, self.failed) {
            (0, _) => PurgeOutcome::None,
            (_, 0) => PurgeOutcome::All,
            _ => PurgeOutcome::Some,
        }
    }

    /// The addresses that did not purge, and why, for the log.
    pub(super) fn failures(&self) -> String {
        let failures = self.results.iter().filter_map(|result| {
            let error = result.error.as_ref()?;
            Some(format!("{}: {error}", result.pod))
        });
        failures.collect::<Vec<_>>().join(", ")
    }
}

impl IntoResponse for Report {
    fn into_response(self) -> Response {
        let status = match self.outcome() {
            PurgeOutcome::All => StatusCode::OK,
            PurgeOutcome::Some => StatusCode::MULTI_STATUS,
            _ => StatusCode::BAD_GATEWAY,
        };
        let headers = [
            (CONTENT_TYPE, HeaderValue::from_static("application/json")),
            (CACHE_CONTROL, NO_STORE),
        ];
        let body = serde_json::to_string(&self).unwrap_or_default();
        (status, headers, body).into_response()
    }
}

impl Endpoint {
    pub(super) fn new(
        address: IpAddr,
        answer: Result<PeerAnswer, Failure>,
        duration: Duration,
    ) -> Self {
        let (status, pod) = match &answer {
            Ok(answer) => (Some(answer.status), pod_name(&answer.body)),
            Err(failure) => (failure.status(), None),
        };
        let error = answer.and_then(PeerAnswer::success).err();
        Self {
            pod: pod.unwrap_or_else(|| address.to_string()),
            status: status.map(|status| status.as_u16()),
            success: error.is_none(),
            error: error.map(|failure| failure.to_string()),
            duration,
        }
    }

    /// An address of the backend that took no connection, while another one purged.
    pub(super) fn missed_backend(address: IpAddr, duration: Duration) -> Self {
        Self {
            pod: address.to_string(),
            status: None,
            success: false,
            error: Some(format!("backend: {}", Failure::Connect)),
            duration,
        }
    }
}

fn pod_name(body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Purged {
        pod: String,
    }
    let Purged { pod } = serde_json::from_slice(body).ok()?;
    let fits = !pod.is_empty()
        && pod.len() <= MAX_POD_NAME_BYTES
        && pod.bytes().all(|byte| byte.is_ascii_graphic());
    fits.then_some(pod)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_is_called_what_it_says_if_that_is_a_name() {
        let name = |body: &str| pod_name(body.as_bytes());
        assert_eq!(
            name(r#"{"pod":"varnish-0","banned":"all"}"#).as_deref(),
            Some("varnish-0")
        );
        let long = format!(r#"{{"pod":"{}"}}"#, "x".repeat(MAX_POD_NAME_BYTES + 1));
        for body in [
            "",
            "<html>",
            "{}",
            r#"{"pod":1}"#,
            r#"{"pod":""}"#,
            r#"{"pod":"a\nb"}"#,
            &long,
        ] {
            assert_eq!(name(body), None, "{body}");
        }
    }
}
