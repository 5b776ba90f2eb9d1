//! `x-body-hash`: the SHA-256 of a request's body, computed inside Envoy.
