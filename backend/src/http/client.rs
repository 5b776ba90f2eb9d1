//! The HTTP client for the upstream, the store and the collector of traces.
//!
//! It follows no redirect, obeys no proxy of the environment, decompresses nothing and repeats
//! only what the server says, by HTTP/2, that it did not process (RFC 9113, 8.7).

use crate::http::authorities;

/// The settings that all outgoing connections share.
pub fn http_client() -> reqwest::ClientBuilder {
    // The first call installs the provider; later calls find it installed.
    if rustls::crypto::ring::default_provider()
        .install_default()
        .is_err()
    {
        tracing::trace!("the TLS provider was installed before");
    }
    reqwest::Client::builder()
        .tls_certs_only(authorities::public_authorities())
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .referer(false)
        .tcp_nodelay(true)
}
