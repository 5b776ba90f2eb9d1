//! A compressed answer is decoded within its bound or not at all, and never takes a thread along.

use bytes::Bytes;
use embedding_gateway::http::codings::decode;
use http::header::{CONTENT_ENCODING, HeaderMap, HeaderValue};
use tokio::runtime::Builder;

/// Far more than the data of one call is, and far less than it can be blown up to.
const LIMIT: usize = 64 * 1024;

const CODINGS: [&str; 6] = ["gzip", "deflate", "br", "zstd", "gzip, zstd", "br, deflate"];

/// Decodes the rest of `data` by what its first byte names.
pub fn check(data: &[u8]) {
    let Some((&coding, body)) = data.split_first() else {
        return;
    };
    let coding = CODINGS[usize::from(coding) % CODINGS.len()];
    let headers = HeaderMap::from_iter([(CONTENT_ENCODING, HeaderValue::from_static(coding))]);
    let runtime = Builder::new_current_thread().build().unwrap();
    let decoded = runtime.block_on(decode(&headers, Bytes::copy_from_slice(body), LIMIT));
    assert!(decoded.map_or(0, |decoded| decoded.len()) <= LIMIT);
}
