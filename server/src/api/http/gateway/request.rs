//! A gateway's request as a call of gRPC: its headers, and its JSON.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body as AxumBody;
use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Version};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Full};
use tokio::sync::oneshot;
use tonic::{Code, Status};

use super::schema::Method;
use super::values::Values;

/// What a message may grow to as JSON: base64, names and escapes of ordinary clients.
const JSON_PER_MESSAGE: usize = 2;
/// How long the body of a request that is not a stream may take to come.
const BODY_PATIENCE: Duration = Duration::from_secs(60);
/// Metadata of a client comes under names that begin so.
const METADATA: &str = "grpc-metadata-";
const TIMEOUT: &str = "grpc-timeout";

/// The whole request of a call that takes one message.
///
/// # Errors
///
/// What is wrong with it, as gRPC says it.
pub(super) async fn one(
    method: &Method,
    headers: &HeaderMap,
    body: AxumBody,
    message_bytes_max: usize,
) -> Result<Request<AxumBody>, Status> {
    check_length(headers, message_bytes_max)?;
    let headers = metadata(headers)?;
    let reading = first_value(body, message_bytes_max);
    let json = tokio::time::timeout(BODY_PATIENCE, reading).await;
    let json = json.map_err(|_| Status::deadline_exceeded("the request's body did not come"))??;
    let frame = method.request(&json)?;
    Ok(call(method, headers, AxumBody::new(Full::new(frame))))
}

/// The request of a call that takes many messages, and where it says why it ended early.
///
/// # Errors
///
/// What is wrong with its headers.
pub(super) fn many<B>(
    method: &Method,
    headers: &HeaderMap,
    body: B,
    message_bytes_max: usize,
) -> Result<(Request<JsonMessages<B>>, oneshot::Receiver<Status>), Status> {
    let headers = metadata(headers)?;
    let (sender, refused) = oneshot::channel();
    let body = JsonMessages {
        body: Some(body),
        values: Values::default(),
        json_bytes_max: json_bytes_max(message_bytes_max),
        refusal: Some(sender),
        method: method.clone(),
    };
    Ok((call(method, headers, body), refused))
}

/// Bytes that the JSON of a message may have.
pub(super) const fn json_bytes_max(message_bytes_max: usize) -> usize {
    message_bytes_max * JSON_PER_MESSAGE
}

fn call<B>(method: &Method, headers: HeaderMap, body: B) -> Request<B> {
    let mut call = Request::new(body);
    *call.method_mut() = http::Method::POST;
    *call.version_mut() = Version::HTTP_2;
    *call.uri_mut() = http::Uri::from_static(method.grpc_path);
    *call.headers_mut() = headers;
    call
}

/// The metadata that a client sends along. A certificate is the connection's and not the user's here, as
/// in etcd, where it is that of the gateway.
fn metadata(from: &HeaderMap) -> Result<HeaderMap, Status> {
    let mut to = HeaderMap::new();
    let grpc = HeaderValue::from_static("application/grpc");
    to.insert(CONTENT_TYPE, grpc);
    let accept = from.get(ACCEPT).cloned();
    let any = HeaderValue::from_static("*/*");
    to.insert("grpcgateway-accept", accept.unwrap_or(any));
    if let Some(token) = from.get(AUTHORIZATION) {
        to.insert(AUTHORIZATION, token.clone());
    }
    if let Some(time) = from.get(TIMEOUT) {
        to.extend(deadline(time)?.map(|time| (HeaderName::from_static(TIMEOUT), time)));
    }
    for (name, value) in from {
        let Some(key) = name.as_str().strip_prefix(METADATA) else {
            continue;
        };
        // gRPC's own are nobody's to set.
        let Ok(key) = HeaderName::try_from(key) else {
            continue;
        };
        if key.as_str().starts_with("grpc-") || key == CONTENT_TYPE {
            continue;
        }
        if key.as_str().ends_with("-bin") && !is_base64(value.as_bytes()) {
            let text = format!("invalid binary header {name}: illegal base64 data");
            return Err(Status::invalid_argument(text));
        }
        to.append(key, value.clone());
    }
    Ok(to)
}

/// The time that a client gives its call; zero is no limit here.
fn deadline(value: &HeaderValue) -> Result<Option<HeaderValue>, Status> {
    let text = value.to_str().unwrap_or_default();
    let (number, unit) = text.split_at(text.len().saturating_sub(1));
    let is_unit = matches!(unit, "H" | "M" | "S" | "m" | "u" | "n");
    match number.parse::<i64>() {
        Ok(number) if is_unit && number < 0 => Err(crate::api::grpc::deadline_exceeded()),
        Ok(0) if is_unit => Ok(None),
        Ok(_) if is_unit && !number.starts_with('+') => Ok(Some(value.clone())),
        _ => Err(Status::invalid_argument(format!(
            "invalid grpc-timeout: {text}"
        ))),
    }
}

fn is_base64(value: &[u8]) -> bool {
    let lenient =
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    GeneralPurpose::new(&STANDARD, lenient)
        .decode(value)
        .is_ok()
}

/// Refuses at once what says that it is too long.
fn check_length(headers: &HeaderMap, message_bytes_max: usize) -> Result<(), Status> {
    let length = headers.get(CONTENT_LENGTH);
    let length = length.and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    match length {
        Some(length) if length > json_bytes_max(message_bytes_max) => {
            Err(too_large(length, message_bytes_max))
        }
        Some(_) | None => Ok(()),
    }
}

fn too_large(bytes: usize, bytes_max: usize) -> Status {
    let text = format!("grpc: received message larger than max ({bytes} vs. {bytes_max})");
    Status::new(Code::ResourceExhausted, text)
}

/// The first JSON value of a body, or what there is if it has none.
async fn first_value(mut body: AxumBody, message_bytes_max: usize) -> Result<Bytes, Status> {
    let mut values = Values::default();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| Status::cancelled(error.to_string()))?;
        if let Ok(data) = frame.into_data() {
            values.push(&data);
            if let Some(value) = values.next() {
                return Ok(value);
            }
            if values.len() > json_bytes_max(message_bytes_max) {
                return Err(too_large(values.len(), message_bytes_max));
            }
        }
    }
    Ok(values.rest())
}

/// A body of JSON values as one of gRPC's messages. It stays open when it has come to its end: so a
/// client whose whole request is one body goes on listening. What is no message ends it.
pub(super) struct JsonMessages<B> {
    /// Until it has ended.
    body: Option<B>,
    values: Values,
    json_bytes_max: usize,
    /// Where the answer learns why the request ended early.
    refusal: Option<oneshot::Sender<Status>>,
    method: Method,
}

impl<B> JsonMessages<B> {
    /// Ends the request, and lets the answer say why.
    fn refuse(&mut self, status: Status) {
        self.body = None;
        if let Some(refusal) = self.refusal.take() {
            // Whose answer is gone needs no reason.
            let _ = refusal.send(status);
        }
    }

    /// Whether the call goes on when all requests are there. Renewals end with them.
    fn stays_open(&self) -> bool {
        self.method.grpc_path == WATCH
    }
}

/// The one method whose call outlives its request.
pub(super) const WATCH: &str = "/etcdserverpb.Watch/Watch";

impl<B> Body for JsonMessages<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: std::fmt::Display,
{
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = self.get_mut();
        loop {
            let value = match this.values.next() {
                None if this.body.is_none() && this.values.len() > 0 => Some(this.values.rest()),
                value => value,
            };
            if let Some(value) = value {
                match this.method.request(&value) {
                    Ok(frame) => return Poll::Ready(Some(Ok(Frame::data(frame)))),
                    Err(status) => {
                        this.values.rest();
                        this.refuse(status);
                    }
                }
            }
            let Some(body) = &mut this.body else {
                return if this.stays_open() {
                    Poll::Pending
                } else {
                    Poll::Ready(None)
                };
            };
            match Pin::new(body).poll_frame(context) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(None) => this.body = None,
                Poll::Ready(Some(Err(error))) => {
                    this.values.rest();
                    this.refuse(Status::cancelled(error.to_string()));
                }
                Poll::Ready(Some(Ok(frame))) => {
                    if let Some(data) = frame.data_ref() {
                        this.values.push(data);
                    }
                    if this.values.len() > this.json_bytes_max {
                        let length = this.values.len();
                        this.values.rest();
                        this.refuse(too_large(length, this.json_bytes_max / JSON_PER_MESSAGE));
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(headers: &[(&'static str, &str)]) -> Result<HeaderMap, Status> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, value.parse().unwrap());
        }
        metadata(&map)
    }

    #[test]
    fn a_clients_metadata_goes_along_and_grpcs_own_does_not() {
        let to = told(&[
            ("authorization", "Bearer t"),
            ("grpc-metadata-hasleader", "true"),
            ("grpc-metadata-grpc-timeout", "1n"),
            ("grpc-metadata-x-bin", "Zm9v"),
            ("grpc-timeout", "5S"),
            ("token", "t"),
        ])
        .unwrap();
        let value = |name: &str| to.get(name).map(|value| value.to_str().unwrap());
        assert_eq!(value("authorization"), Some("Bearer t"));
        assert_eq!(value("hasleader"), Some("true"));
        assert_eq!(value("x-bin"), Some("Zm9v"));
        assert_eq!(value("grpc-timeout"), Some("5S"));
        assert_eq!(value("grpcgateway-accept"), Some("*/*"));
        assert_eq!(value("token"), None);
    }

    #[test]
    fn a_time_that_is_none_is_said_and_one_that_is_over_too() {
        for (time, code) in [
            ("5", Code::InvalidArgument),
            ("x", Code::InvalidArgument),
            ("1s", Code::InvalidArgument),
            ("+1S", Code::InvalidArgument),
            ("S", Code::InvalidArgument),
            ("-1S", Code::DeadlineExceeded),
        ] {
            let refused = told(&[("grpc-timeout", time)]).unwrap_err();
            assert_eq!(refused.code(), code, "{time}");
        }
        let unlimited = told(&[("grpc-timeout", "0S")]).unwrap();
        assert!(!unlimited.contains_key("grpc-timeout"));
        let refused = told(&[("grpc-metadata-x-bin", "not base64!")]).unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument);
    }
}
