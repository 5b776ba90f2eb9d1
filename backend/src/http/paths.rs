//! Paths that more than one part knows, and what a path may hide.

use percent_encoding::percent_decode;

/// Embeddings, for clients and in spans.
pub const EMBEDDINGS: &str = "/v1/embeddings";

/// A path with its escapes undone once (RFC 3986, 2.1). What is no escape stays as it is.
pub fn percent_decoded(path: &[u8]) -> Vec<u8> {
    percent_decode(path).collect()
}
