//! What a client is answered: JSON, and the HTTP status that goes with gRPC's.

use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::Body as AxumBody;
use axum::response::Response;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};
use http_body::{Body, Frame};
use tokio::sync::oneshot;
use tonic::{Code, Status};

use super::large::LargeAnswer;
use super::messages::{Messages, One};
use super::schema::{Method, Show};
use super::shared_json::MessageJson;

/// Bytes of a message that are held at once.
const HELD_BYTES_MAX: usize = 1 << 20;

/// The status that goes with a code.
pub(super) const fn status_of(code: Code) -> StatusCode {
    match code {
        Code::Ok => StatusCode::OK,
        Code::InvalidArgument | Code::FailedPrecondition | Code::OutOfRange => {
            StatusCode::BAD_REQUEST
        }
        Code::Unauthenticated => StatusCode::UNAUTHORIZED,
        Code::PermissionDenied => StatusCode::FORBIDDEN,
        Code::NotFound => StatusCode::NOT_FOUND,
        Code::Aborted | Code::AlreadyExists => StatusCode::CONFLICT,
        Code::ResourceExhausted => StatusCode::TOO_MANY_REQUESTS,
        Code::Unimplemented => StatusCode::NOT_IMPLEMENTED,
        Code::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Code::DeadlineExceeded => StatusCode::GATEWAY_TIMEOUT,
        Code::Unknown | Code::Internal | Code::DataLoss => StatusCode::INTERNAL_SERVER_ERROR,
        // Nginx's "client closed request", which has no name.
        Code::Cancelled => match StatusCode::from_u16(499) {
            Ok(status) => status,
            Err(_) => StatusCode::INTERNAL_SERVER_ERROR,
        },
    }
}

/// An error as JSON.
pub(super) fn error_json(status: &Status) -> Vec<u8> {
    let message = serde_json::Value::from(status.message());
    format!(
        r#"{{"code":{},"message":{message}}}"#,
        i32::from(status.code())
    )
    .into_bytes()
}

/// An error that is all there is to an answer.
pub(super) fn error(status: &Status) -> Response {
    with_status(status, error_json(status))
}

/// An error where a stream was asked for.
pub(super) fn stream_error(status: &Status) -> Response {
    with_status(status, line(failure_json(status)).into())
}

fn with_status(status: &Status, body: Vec<u8>) -> Response {
    let mut response = json(body);
    *response.status_mut() = status_of(status.code());
    if status.code() == Code::Unauthenticated
        && let Ok(text) = HeaderValue::try_from(status.message())
    {
        response.headers_mut().insert(WWW_AUTHENTICATE, text);
    }
    response
}

/// The answer of a call that takes one message and gives one.
pub(super) async fn one(method: &Method, mut messages: Messages, show: Show) -> Response {
    let answered = match messages.one(HELD_BYTES_MAX).await {
        Ok(One::Whole(message)) => method.answer(message, show).map(AxumBody::from),
        Ok(One::InParts) => {
            let answer = LargeAnswer::new(method.clone(), messages, show);
            Ok(AxumBody::new(answer))
        }
        Err(status) => Err(status),
    };
    match answered {
        Ok(body) => of_grpc(json(body)),
        Err(status) => error(&status),
    }
}

/// The answer of a call that gives many messages. Nothing is said before the first one has come: then it
/// is known whether the call is refused.
pub(super) async fn many(
    method: &Method,
    messages: Messages,
    refused: oneshot::Receiver<Status>,
    show: Show,
) -> Response {
    let mut lines = Lines::new(method.clone(), messages, refused, show);
    match lines.next().await {
        None => of_grpc(json(Vec::new())),
        Some(Line::Error(status)) => stream_error(&status),
        Some(Line::Message(first)) => {
            let body = LineBody {
                first: Some(first.line()),
                lines,
            };
            of_grpc(json(AxumBody::new(body)))
        }
    }
}

fn json(body: impl Into<AxumBody>) -> Response {
    let mut response = Response::new(body.into());
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, json);
    response
}

/// Says that gRPC has answered, as etcd does.
fn of_grpc(mut response: Response) -> Response {
    let grpc = HeaderValue::from_static("application/grpc");
    let headers = response.headers_mut();
    headers.insert("grpc-metadata-content-type", grpc);
    response
}

/// Why a stream ends, as it says it.
pub(super) fn failure_json(status: &Status) -> Vec<u8> {
    [b"{\"error\":", error_json(status).as_slice(), b"}"].concat()
}

fn line(mut json: Vec<u8>) -> Bytes {
    json.push(b'\n');
    json.into()
}

/// One thing that a stream says.
pub(super) enum Line {
    /// A message.
    Message(MessageJson),
    /// Why it ends.
    Error(Status),
}

/// The messages of a stream as JSON, and one error at most, at the end: the call's, or what was wrong
/// with the client's own JSON.
pub(super) struct Lines {
    method: Method,
    /// Until the end.
    messages: Option<Messages>,
    refused: Option<oneshot::Receiver<Status>>,
    show: Show,
}

impl Lines {
    pub(super) const fn new(
        method: Method,
        messages: Messages,
        refused: oneshot::Receiver<Status>,
        show: Show,
    ) -> Self {
        Self {
            method,
            messages: Some(messages),
            refused: Some(refused),
            show,
        }
    }

    /// The next; none after the end.
    pub(super) async fn next(&mut self) -> Option<Line> {
        std::future::poll_fn(|context| self.poll_next(context)).await
    }

    /// As [`Self::next`].
    pub(super) fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Line>> {
        let Some(messages) = &mut self.messages else {
            return Poll::Ready(None);
        };
        let line = match messages.poll_next(context) {
            Poll::Ready(Ok(Some(message))) => match self.method.message(message, self.show) {
                Ok(json) => Some(Line::Message(json)),
                Err(status) => Some(Line::Error(status)),
            },
            Poll::Ready(Ok(None)) => self.refusal(context).map(Line::Error),
            Poll::Ready(Err(status)) => Some(Line::Error(status)),
            Poll::Pending => match self.refusal(context) {
                Some(status) => Some(Line::Error(status)),
                None => return Poll::Pending,
            },
        };
        if !matches!(line, Some(Line::Message(_))) {
            self.messages = None;
        }
        Poll::Ready(line)
    }

    fn refusal(&mut self, context: &mut Context<'_>) -> Option<Status> {
        let refused = self.refused.as_mut()?;
        match Pin::new(refused).poll(context) {
            Poll::Pending => None,
            Poll::Ready(refused) => {
                self.refused = None;
                refused.ok()
            }
        }
    }
}

/// Lines as the body of an answer, each sent as it comes.
struct LineBody {
    first: Option<Bytes>,
    lines: Lines,
}

impl Body for LineBody {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let body = self.get_mut();
        if let Some(first) = body.first.take() {
            return Poll::Ready(Some(Ok(Frame::data(first))));
        }
        body.lines.poll_next(context).map(|next| {
            next.map(|next| match next {
                Line::Message(json) => Ok(Frame::data(json.line())),
                Line::Error(status) => Ok(Frame::data(line(failure_json(&status)))),
            })
        })
    }
}
