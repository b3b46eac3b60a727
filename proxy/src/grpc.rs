//! Messages in frames of gRPC: five bytes, then the message.

use axum::body::{Body, to_bytes};
use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body_util::{BodyExt as _, Full};
use prost::Message;
use tonic::Status;

use crate::relay::Relay;

/// What stands before each message: whether it is compressed, and its length.
const PREFIX_BYTES: usize = 5;
/// The longest request that is looked into: what etcd takes at most is far less.
const REQUEST_BYTES_MAX: usize = 64 << 20;

/// A message in its frame.
pub(crate) fn frame(message: &impl Message) -> Bytes {
    let mut frame = BytesMut::with_capacity(PREFIX_BYTES + message.encoded_len());
    frame.put_u8(0);
    frame.put_u32(u32::try_from(message.encoded_len()).unwrap_or(u32::MAX));
    frame.put_slice(&message.encode_to_vec());
    frame.freeze()
}

/// The one message of a body.
fn message<M: Message + Default>(mut body: Bytes) -> Result<M, Status> {
    let malformed = || Status::internal("a message is malformed");
    if body.len() < PREFIX_BYTES || body.get_u8() != 0 {
        return Err(malformed());
    }
    let length = body.get_u32() as usize;
    if body.len() != length {
        return Err(malformed());
    }
    M::decode(body).map_err(|_| malformed())
}

/// Passes on a call with one message each way, both of them changed.
pub(crate) async fn changed<Q, A>(
    relay: &Relay,
    call: Request<Body>,
    ask: impl FnOnce(Q) -> Result<Q, Status>,
    answer: impl FnOnce(A) -> A,
) -> Response<Body>
where
    Q: Message + Default,
    A: Message + Default,
{
    match try_changed(relay, call, ask, answer).await {
        Ok(response) => response,
        Err(status) => status.into_http(),
    }
}

async fn try_changed<Q, A>(
    relay: &Relay,
    call: Request<Body>,
    ask: impl FnOnce(Q) -> Result<Q, Status>,
    answer: impl FnOnce(A) -> A,
) -> Result<Response<Body>, Status>
where
    Q: Message + Default,
    A: Message + Default,
{
    let (head, body) = call.into_parts();
    let body = to_bytes(body, REQUEST_BYTES_MAX).await;
    let body = body.map_err(|error| Status::resource_exhausted(error.to_string()))?;
    let asked = ask(message::<Q>(body)?)?;
    let call = Request::from_parts(head, Full::new(frame(&asked)));
    let (head, body) = relay.call(call).await.into_parts();
    let body = body.collect().await;
    let body = body.map_err(|error| Status::unavailable(error.to_string()))?;
    let trailers = body.trailers().cloned();
    let bytes = body.to_bytes();
    let bytes = if bytes.is_empty() {
        bytes
    } else {
        frame(&answer(message::<A>(bytes)?))
    };
    let mut response = Response::new(with_trailers(bytes, trailers));
    *response.status_mut() = head.status;
    *response.headers_mut() = head.headers;
    response.headers_mut().remove(http::header::CONTENT_LENGTH);
    Ok(response)
}

fn with_trailers(bytes: Bytes, trailers: Option<HeaderMap>) -> Body {
    if bytes.is_empty() && trailers.is_none() {
        // It ends with its head, as upstream's did.
        return Body::empty();
    }
    let body = Full::new(bytes).with_trailers(std::future::ready(trailers.map(Ok)));
    Body::new(body)
}

/// The beginning of an answer in frames.
pub(crate) fn streaming(body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    let kind = HeaderValue::from_static("application/grpc");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}
