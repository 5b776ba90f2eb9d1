//! The gRPC service: each stream is one request of Envoy's. Its first message are the headers, for
//! Envoy changes none whose message it has not sent; the second one is the body.

use std::convert::Infallible;
use std::future::{Future, ready};
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::{Stream, StreamExt};
use sha2::{Digest, Sha256};
use tonic::server::{Grpc, NamedService, StreamingService};
use tonic::{Response, Status, Streaming, body::Body};
use tonic_prost::ProstCodec;
use tower_service::Service;

use crate::messages::{self, BodyResponse, CommonResponse, HeaderMutation, HeaderValue};
use crate::messages::{HeaderValueOption, ProcessingRequest, ProcessingResponse, Unread};

const HEADER: &str = "x-body-hash";

/// As in [`HeaderValueOption::append_action`].
const OVERWRITE: i32 = 2;

/// A body of 1 MiB and its frame; tonic refuses more than this.
const MESSAGE_BYTES: usize = 8 << 20;

type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Answers each body with its hash in a header.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hasher;

impl NamedService for Hasher {
    const NAME: &'static str = "envoy.service.ext_proc.v3.ExternalProcessor";
}

impl Service<http::Request<Body>> for Hasher {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Boxed<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    // The service has one method, so its path is not looked at.
    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        Box::pin(async move {
            let mut grpc =
                Grpc::new(ProstCodec::default()).max_decoding_message_size(MESSAGE_BYTES);
            Ok(grpc.streaming(Self, request).await)
        })
    }
}

impl StreamingService<ProcessingRequest> for Hasher {
    type Response = ProcessingResponse;
    type ResponseStream = Pin<Box<dyn Stream<Item = Result<ProcessingResponse, Status>> + Send>>;
    type Future = std::future::Ready<Result<Response<Self::ResponseStream>, Status>>;

    fn call(&mut self, request: tonic::Request<Streaming<ProcessingRequest>>) -> Self::Future {
        let answers = request.into_inner().map(|message| answer(&message?));
        ready(Ok(Response::new(Box::pin(answers))))
    }
}

fn answer(message: &ProcessingRequest) -> Result<ProcessingResponse, Status> {
    let response = match &message.request {
        Some(messages::Request::RequestHeaders(_)) => {
            messages::Response::RequestHeaders(Unread::default())
        }
        Some(messages::Request::RequestBody(body)) => {
            messages::Response::RequestBody(with_hash(&body.body))
        }
        None => {
            return Err(Status::invalid_argument(
                "only headers and bodies of requests",
            ));
        }
    };
    Ok(ProcessingResponse {
        response: Some(response),
    })
}

fn with_hash(body: &[u8]) -> BodyResponse {
    let hash = const_hex::encode(Sha256::digest(body));
    let header = HeaderValueOption {
        header: Some(HeaderValue {
            key: HEADER.into(),
            raw_value: hash.into_bytes(),
        }),
        append_action: OVERWRITE,
    };
    let header_mutation = Some(HeaderMutation {
        set_headers: vec![header],
    });
    BodyResponse {
        response: Some(CommonResponse { header_mutation }),
    }
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::*;

    #[test]
    fn a_body_as_envoy_sends_it_gets_its_hash() {
        // ProcessingRequest { request_body: HttpBody { body: "abc", end_of_stream: true } }
        let sent = b"\x22\x07\x0a\x03abc\x10\x01";
        let told = answer(&ProcessingRequest::decode(&sent[..]).unwrap()).unwrap();
        let bytes = told.encode_to_vec();
        let hash = b"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert!(bytes.windows(hash.len()).any(|part| part == hash));
        assert!(
            bytes
                .windows(HEADER.len())
                .any(|part| part == HEADER.as_bytes())
        );
        // BodyResponse is field 3, CommonResponse 1, HeaderMutation 2, HeaderValueOption 1.
        let fields = [bytes[0], bytes[2], bytes[4], bytes[6]];
        assert_eq!(fields, [0x1a, 0x0a, 0x12, 0x0a]);
    }

    #[test]
    fn other_messages_are_refused() {
        assert!(answer(&ProcessingRequest::default()).is_err());
    }
}
