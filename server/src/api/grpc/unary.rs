//! gRPC unary calls by hand: one length-prefixed message in, one out.
//!
//! The methods that carry the load are answered this way, for two reasons. tonic needs a whole answer
//! in memory, twice, and a range of any size must run in bounded memory. And of the 17 µs of
//! processor time that a put takes, tonic's machinery for streams, codecs and layers takes two.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::Body as AnswerBody;
use bytes::{Buf, Bytes, BytesMut};
use cairn_proto::lenient;
use http::{HeaderMap, HeaderValue, Response};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use prost::{Message, Name};
use tonic::{Code, Status};

/// Length of gRPC's message prefix: one byte of flags, four of length, big-endian.
pub(crate) const PREFIX_BYTES: usize = 5;

/// A whole call: its request is read, `method` answers it.
///
/// # Errors
///
/// What is wrong with the request, or what the method says.
pub(super) async fn call<M, R: Message>(
    request: impl Future<Output = Result<M, Status>>,
    method: impl AsyncFnOnce(M) -> Result<R, Status>,
) -> Result<Response<AnswerBody>, Status> {
    Ok(answer(&method(request.await?).await?))
}

/// Reads the one message of a unary request.
///
/// # Errors
///
/// A status for a message that is longer than `bytes_max`, compressed, torn or no message.
pub(super) async fn read_message<M, B>(body: B, bytes_max: usize) -> Result<M, Status>
where
    M: Message + Name + Default,
    B: Body<Data = Bytes>,
    B::Error: Into<tonic::codegen::StdError>,
{
    let mut body = std::pin::pin!(body);
    let mut received = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| Status::cancelled(error.into().to_string()))?;
        let Ok(data) = frame.into_data() else { break };
        if received.is_empty() && is_whole(&data) {
            return decode(data, bytes_max);
        }
        received.extend_from_slice(&data);
        // By what it says of itself, before all of it is here.
        if let Some(length) = announced(&received)
            && length > bytes_max
        {
            return Err(too_large(length, bytes_max));
        }
        if received.len() > bytes_max + PREFIX_BYTES {
            return Err(too_large(received.len(), bytes_max));
        }
    }
    decode(received.freeze(), bytes_max)
}

fn is_whole(data: &[u8]) -> bool {
    announced(data).is_some_and(|length| length + PREFIX_BYTES == data.len())
}

/// The length of the message that begins here, once its prefix is here.
fn announced(data: &[u8]) -> Option<usize> {
    let [_, a, b, c, d] = *data.first_chunk::<PREFIX_BYTES>()?;
    usize::try_from(u32::from_be_bytes([a, b, c, d])).ok()
}

fn decode<M: Message + Name + Default>(mut data: Bytes, bytes_max: usize) -> Result<M, Status> {
    let internal = |text: &str| Status::new(Code::Internal, text.to_owned());
    if data.len() < PREFIX_BYTES {
        return Err(internal("the request holds no message"));
    }
    if data.get_u8() != 0 {
        return Err(Status::new(
            Code::Unimplemented,
            "compressed requests are not supported",
        ));
    }
    let length = usize::try_from(data.get_u32()).unwrap_or(usize::MAX);
    if length > bytes_max {
        return Err(too_large(length, bytes_max));
    }
    if length != data.len() {
        return Err(internal("the request's message is torn"));
    }
    lenient::decode(&data).map_err(|error| {
        let text = error.to_string();
        if text.contains("recursion limit") {
            // etcd's library takes a hundred times as many.
            let text = "etcdserver: the request is nested too deeply: messages in messages go 100 \
                        deep at most, transactions in transactions 49";
            return Status::new(Code::InvalidArgument, text);
        }
        internal(&text)
    })
}

fn too_large(bytes: usize, bytes_max: usize) -> Status {
    let text = format!("grpc: received message larger than max ({bytes} vs. {bytes_max})");
    Status::new(Code::ResourceExhausted, text)
}

/// What tonic says of a call that it refuses by itself, as etcd says it: of a message that is too large,
/// and of a method that there is not.
pub(super) fn in_etcds_words(path: &str, answer: Response<AnswerBody>) -> Response<AnswerBody> {
    const TOO_LARGE: &str = "Error, decoded message length too large: found ";
    const LIMIT: &str = " bytes, the limit is: ";

    let Some(status) = Status::from_header_map(answer.headers()) else {
        return answer;
    };
    if status.code() == Code::Unimplemented && status.message().is_empty() {
        return refusal(Status::unimplemented(unknown(path)));
    }
    let sizes = status.message().strip_prefix(TOO_LARGE);
    let sizes = sizes.and_then(|sizes| sizes.strip_suffix(" bytes")?.split_once(LIMIT));
    match sizes.map(|(bytes, max)| (bytes.parse(), max.parse())) {
        Some((Ok(bytes), Ok(bytes_max))) => refusal(too_large(bytes, bytes_max)),
        _ => answer,
    }
}

/// A path that nobody answers, as Go's library names it.
fn unknown(path: &str) -> String {
    const SERVICES: [&str; 9] = [
        "etcdserverpb.Auth",
        "etcdserverpb.Cluster",
        "etcdserverpb.KV",
        "etcdserverpb.Lease",
        "etcdserverpb.Maintenance",
        "etcdserverpb.Watch",
        "grpc.health.v1.Health",
        "v3electionpb.Election",
        "v3lockpb.Lock",
    ];
    let path = path.strip_prefix('/').unwrap_or(path);
    match path.rsplit_once('/') {
        Some((service, method)) if SERVICES.contains(&service) => {
            format!("unknown method {method} for service {service}")
        }
        Some((service, _)) => format!("unknown service {service}"),
        None => format!("malformed method name: \"/{path}\""),
    }
}

/// The prefix of a message of `length` bytes, or none if gRPC cannot express that.
pub(super) fn prefix(length: u64) -> Option<[u8; PREFIX_BYTES]> {
    let [a, b, c, d] = u32::try_from(length).ok()?.to_be_bytes();
    Some([0, a, b, c, d])
}

/// A successful answer with `body`, which must end in [`ok_trailers`].
pub(super) fn response<B>(body: B) -> Response<AnswerBody>
where
    B: Body<Data = Bytes, Error = Status> + Send + 'static,
{
    let mut response = Response::new(AnswerBody::new(body));
    let grpc = HeaderValue::from_static("application/grpc");
    response
        .headers_mut()
        .insert(http::header::CONTENT_TYPE, grpc);
    response
}

/// The size of a body as far as memory is concerned. An exact one would be announced in a header, which
/// gRPC's answers do not have.
pub(super) fn at_least(bytes: u64) -> SizeHint {
    let mut hint = SizeHint::new();
    hint.set_lower(bytes);
    hint
}

/// The trailers of a call that succeeded.
pub(super) fn ok_trailers() -> HeaderMap {
    let mut trailers = HeaderMap::with_capacity(1);
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    trailers
}

/// A call that is refused: its status is all there is to the answer.
pub(super) fn refusal(status: Status) -> Response<AnswerBody> {
    status.into_http()
}

/// The body of an answer that is one message.
struct OneMessage {
    frame: Option<Bytes>,
    trailers: Option<HeaderMap>,
}

impl Body for OneMessage {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let body = self.get_mut();
        let frame = body.frame.take().map(Frame::data);
        let frame = frame.or_else(|| body.trailers.take().map(Frame::trailers));
        Poll::Ready(frame.map(Ok))
    }

    fn is_end_stream(&self) -> bool {
        self.frame.is_none() && self.trailers.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        at_least(self.frame.as_ref().map_or(0, |frame| frame.len() as u64))
    }
}

/// A successful answer of one message, in one buffer.
pub(super) fn answer(message: &impl Message) -> Response<AnswerBody> {
    let len = message.encoded_len();
    let Some(prefix) = prefix(len as u64) else {
        return refusal(Status::new(
            Code::ResourceExhausted,
            "the answer is over 4 GiB",
        ));
    };
    let mut frame = BytesMut::with_capacity(PREFIX_BYTES + len);
    frame.extend_from_slice(&prefix);
    message.encode_raw(&mut frame);
    response(OneMessage {
        frame: Some(frame.freeze()),
        trailers: Some(ok_trailers()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use cairn_proto::etcdserverpb::RangeRequest;
    use http_body_util::Full;

    fn framed(message: &[u8]) -> Bytes {
        let mut bytes = prefix(message.len() as u64).unwrap().to_vec();
        bytes.extend_from_slice(message);
        Bytes::from(bytes)
    }

    async fn read(body: Bytes) -> Result<RangeRequest, Status> {
        read_message(Full::new(body), 64).await
    }

    #[tokio::test]
    async fn a_message_comes_out_as_it_went_in() {
        let request = RangeRequest {
            key: Bytes::from_static(b"k"),
            ..Default::default()
        };
        assert_eq!(
            read(framed(&request.encode_to_vec())).await.unwrap(),
            request
        );
    }

    /// etcd 3.7 names the length that the message has, though not all of it is read.
    #[tokio::test]
    async fn a_message_that_is_too_large_is_told_its_true_size() {
        let begun = Bytes::from_static(&[0, 0, 0, 0x10, 0, 1, 2, 3]);
        let refusal = read(begun).await.unwrap_err();
        assert_eq!(
            refusal.message(),
            "grpc: received message larger than max (4096 vs. 64)"
        );
        let by_tonic =
            "Error, decoded message length too large: found 4096 bytes, the limit is: 64 bytes";
        let answer = Status::out_of_range(by_tonic).into_http::<AnswerBody>();
        let answer = in_etcds_words("/etcdserverpb.Lease/LeaseGrant", answer);
        let status = Status::from_header_map(answer.headers()).unwrap();
        assert_eq!(
            (status.code(), status.message()),
            (refusal.code(), refusal.message())
        );
    }

    #[test]
    fn the_deepest_transactions_are_those_that_the_refusal_names() {
        use cairn_proto::etcdserverpb::{RequestOp, TxnRequest, request_op};
        let nested = |depth: usize| {
            let innermost = TxnRequest {
                success: vec![RequestOp {
                    request: Some(request_op::Request::RequestRange(RangeRequest::default())),
                }],
                ..TxnRequest::default()
            };
            (0..depth).fold(innermost, |inner, _| TxnRequest {
                success: vec![RequestOp {
                    request: Some(request_op::Request::RequestTxn(inner)),
                }],
                ..TxnRequest::default()
            })
        };
        let read = |depth| decode::<TxnRequest>(framed(&nested(depth).encode_to_vec()), 1 << 20);
        assert!(read(49).is_ok());
        let refusal = read(50).unwrap_err();
        assert_eq!(refusal.code(), Code::InvalidArgument);
        assert!(refusal.message().contains("nested too deeply"), "{refusal}");
    }

    #[tokio::test]
    async fn malformed_requests_get_a_status_each() {
        let cases = [
            (Bytes::new(), Code::Internal),
            (Bytes::from_static(&[0, 0, 0]), Code::Internal),
            (Bytes::from_static(&[1, 0, 0, 0, 0]), Code::Unimplemented),
            (Bytes::from_static(&[0, 0, 0, 0, 9, 1]), Code::Internal),
            (framed(&[0xff; 8]), Code::Internal),
            (framed(&[0; 65]), Code::ResourceExhausted),
            (
                Bytes::from_static(&[0, 0xff, 0xff, 0xff, 0xff, 1]),
                Code::ResourceExhausted,
            ),
        ];
        for (body, code) in cases {
            assert_eq!(
                read(body.clone()).await.unwrap_err().code(),
                code,
                "{body:?}"
            );
        }
    }
}
