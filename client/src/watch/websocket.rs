//! Watches over WebSocket, where only HTTP passes: etcd's gateway at `/v3/watch`, one message of
//! JSON in each text frame.

use std::time::Duration;

use bytes::Bytes;
use futures_util::SinkExt as _;
use http::header::COOKIE;
use http::{HeaderValue, Request};
use serde_json::Value;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_stream::StreamExt as _;
use tokio_tungstenite::tungstenite::Error as SocketError;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::protocol::{Message, WebSocketConfig};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

use cairn_proto::etcdserverpb as pb;

use super::json;
use crate::balance::EndpointId;
use crate::balance::retry::{self, Verdict};
use crate::client::{Client, StreamPlace, to_error};
use crate::connect::{ConnectOptions, Endpoint, Limits, Socket, dial_http1};
use crate::error::{Error, ServerError};
use crate::etcd_error::Code;
use crate::transport::{CallFailure, of_http};

/// A WebSocket to one member's gateway.
pub(super) struct WebSocket {
    socket: WebSocketStream<Box<dyn Socket>>,
    limits: Limits,
    /// When the server, silent until then, is asked whether it lives; if it has been, when it counts as
    /// lost.
    look_at: Instant,
    is_asked: bool,
}

impl WebSocket {
    /// Opens one at an endpoint that takes it.
    pub(super) async fn open_anywhere(
        client: &Client,
        avoided: &[EndpointId],
    ) -> Result<(Self, StreamPlace), Error> {
        let mut reasons = Vec::new();
        for (id, endpoint) in client.ways(avoided) {
            let (place, token) = client.place(id).await?;
            let options = client.options();
            let opening = Self::open(&endpoint, options, token.as_ref());
            let opened = timeout(options.limits.connect_timeout, opening).await;
            let failure = match opened.unwrap_or(Err(CallFailure::TimedOut)) {
                Ok(socket) => return Ok((socket, place)),
                Err(failure) => failure,
            };
            match retry::decide(retry::Effect::Read, &failure) {
                Verdict::RenewToken => client.refuse_token(&place),
                Verdict::Retry => {}
                Verdict::Fail | Verdict::Ambiguous => {
                    return Err(to_error(failure, Duration::ZERO));
                }
            }
            reasons.push(format!("{endpoint}: {failure}"));
        }
        let reason = reasons.join("; ");
        Err(Error::Unavailable { reason })
    }

    async fn open(
        endpoint: &Endpoint,
        options: &ConnectOptions,
        token: Option<&HeaderValue>,
    ) -> Result<Self, CallFailure> {
        let not_open = |reason: String| CallFailure::NotProcessed(reason);
        let socket = dial_http1(endpoint, options).await;
        let socket = socket.map_err(|error| not_open(error.to_string()))?;
        let scheme = if options.secures(endpoint) {
            "wss"
        } else {
            "ws"
        };
        let uri = format!("{scheme}://{}/v3/watch", endpoint.authority());
        let request = uri.into_client_request();
        let mut request: Request<()> = request.map_err(|error| not_open(error.to_string()))?;
        if let Some(token) = token {
            // A cookie, since the gateway passes no other header on.
            let cookie = [b"token=", token.as_bytes()].concat();
            let mut cookie = HeaderValue::from_bytes(&cookie)
                .map_err(|error| CallFailure::Protocol(error.to_string()))?;
            cookie.set_sensitive(true);
            request.headers_mut().insert(COOKIE, cookie);
        }
        let bytes_max = Some(options.limits.response_bytes_max);
        let config = WebSocketConfig::default()
            .max_message_size(bytes_max)
            .max_frame_size(bytes_max);
        let opened = client_async_with_config(request, socket, Some(config)).await;
        let (socket, _) = opened.map_err(|error| match error {
            SocketError::Http(answer) => of_http(answer.status()),
            other => not_open(other.to_string()),
        })?;
        Ok(Self {
            socket,
            limits: options.limits,
            look_at: Instant::now() + options.limits.keepalive_interval,
            is_asked: false,
        })
    }

    pub(super) async fn send(&mut self, request: &pb::WatchRequest) -> Result<(), CallFailure> {
        let text = json::request(request)?.to_string();
        self.put(Message::text(text)).await
    }

    async fn put(&mut self, message: Message) -> Result<(), CallFailure> {
        let patience = self.limits.keepalive_interval + self.limits.keepalive_timeout;
        match timeout(patience, self.socket.send(message)).await {
            Ok(sent) => sent.map_err(|error| lost(&error)),
            Err(_) => Err(CallFailure::TimedOut),
        }
    }

    /// See [`super::way::Way::next`].
    pub(super) async fn next(&mut self) -> Result<Option<pb::WatchResponse>, CallFailure> {
        loop {
            let Ok(heard) = timeout_at(self.look_at, self.socket.next()).await else {
                if self.is_asked {
                    return Err(CallFailure::Lost("the server is silent".to_owned()));
                }
                self.is_asked = true;
                self.look_at = Instant::now() + self.limits.keepalive_timeout;
                self.put(Message::Ping(Bytes::new())).await?;
                continue;
            };
            self.is_asked = false;
            self.look_at = Instant::now() + self.limits.keepalive_interval;
            match heard {
                None => return Ok(None),
                Some(Err(error)) => return Err(lost(&error)),
                Some(Ok(Message::Text(text))) => return line(text.as_str()).map(Some),
                Some(Ok(Message::Close(frame))) => {
                    let reason = frame.map(|frame| frame.reason.as_str().to_owned());
                    let reason = reason.filter(|reason| !reason.is_empty());
                    let reason = reason.unwrap_or_else(|| "the server ended it".to_owned());
                    return Err(CallFailure::Lost(reason));
                }
                Some(Ok(Message::Binary(_))) => {
                    let reason = "a binary frame, where JSON was to come".to_owned();
                    return Err(CallFailure::Protocol(reason));
                }
                Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {}
            }
        }
    }
}

fn lost(error: &SocketError) -> CallFailure {
    CallFailure::Lost(error.to_string())
}

/// An answer, or the error that ends the stream.
fn line(text: &str) -> Result<pb::WatchResponse, CallFailure> {
    let broken = |reason: String| CallFailure::Protocol(reason);
    let line: Value = serde_json::from_str(text).map_err(|error| broken(error.to_string()))?;
    if let Some(result) = line.get("result") {
        return json::response(result).map_err(broken);
    }
    // The gateway's own refusals have no envelope.
    let error = line.get("error").filter(|it| it.is_object());
    let error = error.unwrap_or(&line);
    let number = |name| error.get(name).and_then(Value::as_i64);
    let number = number("code").or_else(|| number("grpc_code"));
    let number = number.and_then(|number| i32::try_from(number).ok());
    match (number, error.get("message").and_then(Value::as_str)) {
        (Some(number), Some(message)) => {
            let code = Code::from_number(number);
            Err(ServerError::new(code, message.to_owned()).into())
        }
        _ => Err(broken(format!("neither a result nor an error: {text}"))),
    }
}
