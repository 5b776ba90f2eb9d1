//! Paths that more than one folder knows, and percent-decoding of paths.

use percent_encoding::percent_decode;

/// Embeddings, for clients and in spans.
pub const EMBEDDINGS: &str = "/v1/embeddings";

/// A path, percent-decoded once (RFC 3986, 2.1). Invalid escapes stay as they are.
pub fn percent_decoded(path: &[u8]) -> Vec<u8> {
    percent_decode(path).collect()
}
