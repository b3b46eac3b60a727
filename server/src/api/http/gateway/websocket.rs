//! The gateway's streams over WebSocket (RFC 6455): each text message of the client is a request, each
//! answer one text message.
//!
//! Browsers cannot set headers here: a token comes as `Sec-WebSocket-Protocol: Bearer, <token>`, or in
//! the cookie `token`. What else a call may carry stays out.

use std::ops::ControlFlow;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body as AxumBody;
use axum::extract::FromRequestParts;
use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket, WebSocketUpgrade, close_code};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::{FutureExt, SinkExt};
use http::header::{AUTHORIZATION, COOKIE, SEC_WEBSOCKET_PROTOCOL, UPGRADE};
use http::request::Parts;
use http::{HeaderMap, HeaderValue};
use http_body::{Body, Frame};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Interval, MissedTickBehavior, interval};
use tonic::{Code, Status};

use super::reply::{self, Line, Lines};
use super::schema::{Method, Shape, Show};
use super::{Gateway, request, show};

/// What a client offers as a protocol in front of its token.
const BEARER: &str = "Bearer";
/// Requests that may wait until the call takes them.
const REQUESTS_MAX: usize = 16;
/// A client that says nothing is pinged after this time, and gone after twice that.
const PING_INTERVAL: Duration = Duration::from_secs(30);
/// What is read at once: requests are short, and every open socket holds as much.
const READ_BUFFER_BYTES: usize = 4 << 10;
/// Messages that wait together leave in one write, of about so many bytes. A socket keeps a buffer of
/// this size once it has needed it.
const WRITE_BYTES: usize = 8 << 10;
/// A client that has not taken one write by then is gone.
const SEND_PATIENCE: Duration = Duration::from_secs(60);

/// Whether a request asks for a WebSocket.
pub(super) fn is_asked_for(head: &Parts) -> bool {
    let upgrade = head.headers.get(UPGRADE);
    upgrade.is_some_and(|it| it.as_bytes().eq_ignore_ascii_case(b"websocket"))
}

/// Opens a WebSocket for a method that streams.
pub(super) async fn open(gateway: Arc<Gateway>, method: Method, mut head: Parts) -> Response {
    if method.shape == Shape::Unary {
        let text = "a WebSocket is for calls that stream: POST this one";
        return reply::error(&Status::invalid_argument(text));
    }
    let upgrade = match WebSocketUpgrade::from_request_parts(&mut head, &()).await {
        Ok(upgrade) => upgrade,
        Err(rejection) => return rejection.into_response(),
    };
    let show = show(&head);
    let headers = token(&head.headers);
    let bytes_max = request::json_bytes_max(gateway.calls.request_bytes_max());
    upgrade
        .protocols([BEARER])
        .max_message_size(bytes_max)
        .max_frame_size(bytes_max)
        .read_buffer_size(READ_BUFFER_BYTES)
        .write_buffer_size(WRITE_BYTES)
        .on_upgrade(async move |socket| {
            let conversation = Conversation::new(socket);
            conversation.hold(&gateway, &method, &headers, show).await;
        })
}

/// The token that a handshake brings, as the header that a request would have.
fn token(headers: &HeaderMap) -> HeaderMap {
    let protocols = headers.get_all(SEC_WEBSOCKET_PROTOCOL);
    let mut protocols = protocols
        .iter()
        .filter_map(|it| it.to_str().ok())
        .flat_map(|it| it.split(',').map(str::trim))
        .skip_while(|it| *it != BEARER);
    let cookies = headers.get_all(COOKIE);
    let mut cookies = cookies
        .iter()
        .filter_map(|it| it.to_str().ok())
        .flat_map(|it| it.split(';').map(str::trim))
        .filter_map(|it| it.strip_prefix("token="));
    let token = protocols.nth(1).or_else(|| cookies.next());
    let token = token.and_then(|it| HeaderValue::try_from(format!("{BEARER} {it}")).ok());
    token.map(|it| (AUTHORIZATION, it)).into_iter().collect()
}

/// What came over a WebSocket.
enum Heard {
    Request(Bytes),
    /// Something that means only that the client is there.
    Life,
    /// It has closed.
    End,
}

/// Why a conversation ends.
enum Over {
    /// The client is gone.
    Gone,
    /// The call is over, well or with an error.
    Call(Option<Status>),
}

/// One WebSocket.
struct Conversation {
    socket: WebSocket,
    ping: Interval,
    /// Since the last ping.
    has_heard: bool,
}

impl Conversation {
    fn new(socket: WebSocket) -> Self {
        let mut ping = interval(PING_INTERVAL);
        ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ping.reset();
        Self {
            socket,
            ping,
            has_heard: true,
        }
    }

    /// Calls the method, and passes on what either side says until one has no more to say.
    async fn hold(mut self, gateway: &Gateway, method: &Method, headers: &HeaderMap, show: Show) {
        let bytes_max = gateway.calls.request_bytes_max();
        let (sender, receiver) = mpsc::channel(REQUESTS_MAX);
        let begun = match method.shape {
            Shape::Both => match request::many(method, headers, Received(receiver), bytes_max) {
                Ok((call, refused)) => Ok((gateway.call(call).await, refused)),
                Err(status) => Err(status),
            },
            Shape::Unary | Shape::Answers => {
                let Some(first) = self.first().await else {
                    return;
                };
                let body = AxumBody::from(first);
                match request::one(method, headers, body, bytes_max).await {
                    Ok(call) => {
                        let (_, never) = oneshot::channel();
                        Ok((gateway.call(call).await, never))
                    }
                    Err(status) => Err(status),
                }
            }
        };
        match begun {
            Ok((answer, refused)) => {
                let lines = Lines::new(method.clone(), answer, refused, show);
                self.converse(lines, sender).await;
            }
            Err(status) => self.end(Some(&status)).await,
        }
    }

    async fn converse(mut self, mut lines: Lines, requests: mpsc::Sender<Bytes>) {
        loop {
            let may_ask = requests.capacity() > 0;
            tokio::select! {
                line = lines.next() => match self.pass_on(line, &mut lines).await {
                    ControlFlow::Continue(()) => {}
                    ControlFlow::Break(Over::Gone) => return,
                    ControlFlow::Break(Over::Call(error)) => return self.end(error.as_ref()).await,
                },
                heard = self.socket.recv(), if may_ask => match self.understand(heard) {
                    // There is room for it, and if nobody takes it any more the answer ends too.
                    Heard::Request(json) => drop(requests.try_send(json)),
                    Heard::Life => {}
                    Heard::End => return,
                },
                _ = requests.reserve(), if !may_ask => {}
                _ = self.ping.tick() => {
                    if self.keep_alive().await.is_break() {
                        return;
                    }
                }
            }
        }
    }

    /// Says a line, and in the same write what has come behind it.
    async fn pass_on(&mut self, line: Option<Line>, lines: &mut Lines) -> ControlFlow<Over> {
        let mut written_bytes = 0;
        let mut next = Some(line);
        while let Some(line) = next {
            let json = match line {
                Some(Line::Message(json)) => json.result(),
                Some(Line::Error(status)) => return ControlFlow::Break(Over::Call(Some(status))),
                None => return ControlFlow::Break(Over::Call(None)),
            };
            written_bytes += json.len();
            let fed = match text(json) {
                Some(message) => timely(self.socket.feed(message)).await,
                None => ControlFlow::Break(()),
            };
            if fed.is_break() {
                return ControlFlow::Break(Over::Gone);
            }
            next = if written_bytes < WRITE_BYTES {
                lines.next().now_or_never()
            } else {
                None
            };
        }
        match timely(self.socket.flush()).await {
            ControlFlow::Continue(()) => ControlFlow::Continue(()),
            ControlFlow::Break(()) => ControlFlow::Break(Over::Gone),
        }
    }

    /// The first request.
    async fn first(&mut self) -> Option<Bytes> {
        loop {
            tokio::select! {
                heard = self.socket.recv() => match self.understand(heard) {
                    Heard::Request(json) => return Some(json),
                    Heard::Life => {}
                    Heard::End => return None,
                },
                _ = self.ping.tick() => {
                    if self.keep_alive().await.is_break() {
                        return None;
                    }
                }
            }
        }
    }

    fn understand(&mut self, heard: Option<Result<Message, axum::Error>>) -> Heard {
        self.has_heard = true;
        match heard {
            Some(Ok(Message::Text(text))) => Heard::Request(text.into()),
            Some(Ok(Message::Binary(bytes))) => Heard::Request(bytes),
            // Pings are answered beneath.
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => Heard::Life,
            Some(Ok(Message::Close(_)) | Err(_)) | None => Heard::End,
        }
    }

    /// Pings a client that says nothing, and gives one up that does not answer.
    async fn keep_alive(&mut self) -> ControlFlow<()> {
        if !std::mem::take(&mut self.has_heard) {
            return ControlFlow::Break(());
        }
        timely(self.socket.send(Message::Ping(Bytes::new()))).await
    }

    /// Closes, and says why.
    async fn end(mut self, error: Option<&Status>) {
        let mut code = close_code::NORMAL;
        if let Some(status) = error {
            code = close_code_of(status.code());
            let Some(message) = text(reply::failure_json(status).into()) else {
                return;
            };
            if timely(self.socket.feed(message)).await.is_break() {
                return;
            }
        }
        let reason = "".into();
        let close = Message::Close(Some(CloseFrame { code, reason }));
        if timely(self.socket.send(close)).await.is_continue() {
            // The client closes too, or it is not worth waiting for.
            let _ = tokio::time::timeout(PING_INTERVAL, self.socket.recv()).await;
        }
    }
}

/// JSON as a message.
fn text(json: Bytes) -> Option<Message> {
    Utf8Bytes::try_from(json).ok().map(Message::Text)
}

/// Waits until something is written, so that no more than one write waits.
async fn timely<E>(sent: impl Future<Output = Result<(), E>>) -> ControlFlow<()> {
    match tokio::time::timeout(SEND_PATIENCE, sent).await {
        Ok(Ok(())) => ControlFlow::Continue(()),
        Ok(Err(_)) | Err(_) => ControlFlow::Break(()),
    }
}

/// The code of RFC 6455 for a call that ended with `code`.
const fn close_code_of(code: Code) -> u16 {
    match code {
        Code::Ok => close_code::NORMAL,
        Code::InvalidArgument | Code::OutOfRange | Code::FailedPrecondition => close_code::INVALID,
        Code::Unauthenticated | Code::PermissionDenied => close_code::POLICY,
        Code::ResourceExhausted => close_code::SIZE,
        Code::Unavailable | Code::DeadlineExceeded | Code::Aborted => close_code::AGAIN,
        Code::Cancelled
        | Code::Unknown
        | Code::NotFound
        | Code::AlreadyExists
        | Code::Unimplemented
        | Code::Internal
        | Code::DataLoss => close_code::ERROR,
    }
}

/// What a client has sent, as the body of a request.
struct Received(mpsc::Receiver<Bytes>);

impl Body for Received {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let next = self.get_mut().0.poll_recv(context);
        next.map(|next| next.map(|bytes| Ok(Frame::data(bytes))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(headers: &[(&'static str, &str)]) -> Option<String> {
        let headers = headers.iter().map(|(name, value)| {
            let name = http::HeaderName::from_static(name);
            (name, HeaderValue::try_from(*value).unwrap())
        });
        let token = token(&headers.collect());
        token
            .get(AUTHORIZATION)
            .map(|it| it.to_str().unwrap().to_owned())
    }

    #[test]
    fn a_token_comes_as_a_protocol_or_as_a_cookie() {
        let t = Some("Bearer t".to_owned());
        assert_eq!(found(&[("sec-websocket-protocol", "Bearer, t")]), t);
        assert_eq!(found(&[("sec-websocket-protocol", "x,Bearer,t")]), t);
        assert_eq!(found(&[("cookie", "a=b; token=t")]), t);
        let both = [
            ("sec-websocket-protocol", "Bearer, t"),
            ("cookie", "token=c"),
        ];
        assert_eq!(found(&both), t);
        assert_eq!(found(&[("sec-websocket-protocol", "Bearer")]), None);
        assert_eq!(found(&[("authorization", "t")]), None);
    }
}
