//! The table of the broadcaster's variables. Only this file knows their names.

use crate::config::variables::variables;

variables! {
    /// Every variable that the broadcaster reads.
    VARIABLES;

    "Services" {
        VARNISH_SERVICE = "", "name:port of Varnish's headless Service: every address of the name is purged, with this as its Host. An address:port is purged as it is. Must be set";
        BACKEND_SERVICE = "", "name:port of the backend's Service, which is purged first, at every address of the name. Must be set";
        BACKEND_ADMIN_TOKEN = "", "the backend's ADMIN_TOKEN; absent where the backend accepts PURGE without one";
        BACKEND_TIMEOUT = "10s", "for the backend's answer, from resolving its name on";
        ENDPOINT_TIMEOUT = "3s", "for each Varnish's answer, from connecting on";
        PURGE_AGAIN_AFTER = "1s", "when each Varnish is purged once more: an answer that was on its way to it during the first time is stored only afterwards. 0s leaves that out";
    }

    "Names" {
        DNS_SERVERS = "", "address:port of name servers, with commas, to ask in place of /etc/hosts and /etc/resolv.conf; names are then not completed by search domains";
        RESOLVE_TIMEOUT = "5s", "to resolve a name";
    }

    "Callers" {
        LISTEN = "0.0.0.0:8080", "address and port to accept connections on";
        ADMIN_TOKEN = "", "the bearer token that PURGE needs; this or ALLOW_ANONYMOUS_PURGE must be set";
        ALLOW_ANONYMOUS_PURGE = "false", "true accepts PURGE without a token: the network decides who may call";
        MAX_CONCURRENT_PURGES = "8", "purges at a time; more get 503";
        MAX_HEADER_BYTES = "32KiB", "all headers of a request together";
        MAX_CONNECTIONS = "1024", "connections at a time; some more are served for one request each, to be probed and purged by";
        HEADER_TIMEOUT = "75s", "to receive a request's headers, for an idle connection, and for a client that takes nothing of its answer";
    }

    "Process" {
        SHUTDOWN_GRACE = "25s", "for running purges after SIGTERM; longer than the time-outs together, ENDPOINT_TIMEOUT twice, and PURGE_AGAIN_AFTER";
        LOG_FORMAT = "text", "text or json";
        RUST_LOG = "info", "which of the broadcaster's own log lines to write, as in debug or embedding_gateway::broadcast=trace";
    }
}
