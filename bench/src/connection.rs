//! One HTTP/2 connection to a server, and gRPC calls on it, framed by hand.
//!
//! Built on the `h2` crate alone: a whole gRPC client would cost more processor time than the
//! server it measures. Nothing here retries; an error is part of the measurement.

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use h2::{RecvStream, SendStream};
use http::header::{CONTENT_TYPE, HeaderMap, HeaderValue, TE};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{Request, StatusCode, Uri, Version};

use crate::endpoint::Endpoint;
use crate::framing::{FrameError, Frames};
use crate::socket::Socket;
use crate::user::User;
use crate::web_socket::Broken;
use crate::{socket, user};

/// What one stream may send us before we read: a 100,000-key answer fits.
const STREAM_WINDOW: u32 = 64 << 20;
/// What one connection may send us before we read.
const CONNECTION_WINDOW: u32 = 256 << 20;
/// The largest data frame we take; a server may use smaller ones.
const FRAME_LEN_MAX: u32 = 1 << 20;
/// Streams that may be opened before the server's own limit is known.
const STREAMS_BEFORE_SETTINGS: usize = 100;

/// The calls that the generator makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// `KV.Put`
    Put,
    /// `KV.Range`
    Range,
    /// `KV.RangeStream`
    RangeStream,
    /// `KV.Txn`
    Txn,
    /// `Watch.Watch`
    Watch,
    /// `Lease.LeaseGrant`
    LeaseGrant,
    /// `Lease.LeaseKeepAlive`
    LeaseKeepAlive,
    /// `Maintenance.Status`
    Status,
    /// `Auth.Authenticate`
    Authenticate,
    /// `Maintenance.HashKV`
    HashKv,
    /// `Auth.AuthEnable`
    AuthEnable,
    /// `Auth.AuthDisable`
    AuthDisable,
    /// `Auth.UserAdd`
    UserAdd,
    /// `Auth.UserGrantRole`
    UserGrantRole,
    /// `Auth.RoleAdd`
    RoleAdd,
    /// `Auth.RoleGrantPermission`
    RoleGrantPermission,
}

impl Method {
    fn path(self) -> PathAndQuery {
        PathAndQuery::from_static(match self {
            Self::Put => "/etcdserverpb.KV/Put",
            Self::Range => "/etcdserverpb.KV/Range",
            Self::RangeStream => "/etcdserverpb.KV/RangeStream",
            Self::Txn => "/etcdserverpb.KV/Txn",
            Self::Watch => "/etcdserverpb.Watch/Watch",
            Self::LeaseGrant => "/etcdserverpb.Lease/LeaseGrant",
            Self::LeaseKeepAlive => "/etcdserverpb.Lease/LeaseKeepAlive",
            Self::Status => "/etcdserverpb.Maintenance/Status",
            Self::Authenticate => "/etcdserverpb.Auth/Authenticate",
            Self::HashKv => "/etcdserverpb.Maintenance/HashKV",
            Self::AuthEnable => "/etcdserverpb.Auth/AuthEnable",
            Self::AuthDisable => "/etcdserverpb.Auth/AuthDisable",
            Self::UserAdd => "/etcdserverpb.Auth/UserAdd",
            Self::UserGrantRole => "/etcdserverpb.Auth/UserGrantRole",
            Self::RoleAdd => "/etcdserverpb.Auth/RoleAdd",
            Self::RoleGrantPermission => "/etcdserverpb.Auth/RoleGrantPermission",
        })
    }
}

/// A handle to a connection; clones share it. Must be opened and used within one runtime.
#[derive(Clone)]
pub struct Connection {
    send: SendRequest<Bytes>,
    scheme: Scheme,
    authority: Authority,
    /// What says who calls, if anybody does.
    token: Option<HeaderValue>,
}

/// Begins HTTP/2, and drives it in a task.
async fn speak(socket: Box<dyn Socket>) -> Result<SendRequest<Bytes>, CallError> {
    let (send, driver) = h2::client::Builder::new()
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_frame_size(FRAME_LEN_MAX)
        .initial_max_send_streams(STREAMS_BEFORE_SETTINGS)
        .enable_push(false)
        .handshake(socket)
        .await?;
    // What ends the connection also ends its calls, which report it.
    tokio::spawn(async move { drop(driver.await) });
    Ok(send)
}

impl Connection {
    /// Connects on behalf of this process's user, if it has one, and drives the connection in a task
    /// until every handle is dropped.
    ///
    /// # Errors
    ///
    /// [`CallError::Connect`] or [`CallError::Transport`], or that the login is refused.
    pub async fn open(endpoint: Endpoint) -> Result<Self, CallError> {
        Self::open_as(endpoint, user::own()).await
    }

    /// The same on a user's behalf, or on nobody's.
    ///
    /// # Errors
    ///
    /// As [`Connection::open`].
    pub async fn open_as(endpoint: Endpoint, user: Option<&User>) -> Result<Self, CallError> {
        let connect = |source| CallError::Connect { endpoint, source };
        let socket = socket::connect(endpoint).await.map_err(connect)?;
        let authority = Authority::try_from(endpoint.to_string())
            .map_err(|_| connect(std::io::ErrorKind::InvalidInput.into()))?;
        let scheme = if endpoint.is_tls() {
            Scheme::HTTPS
        } else {
            Scheme::HTTP
        };
        let send = speak(socket).await?;
        let mut connection = Self {
            send,
            scheme,
            authority,
            token: None,
        };
        if let Some(user) = user {
            let answer = connection.fetch(Method::Authenticate, user.login()).await?;
            connection.token = user::token(&answer);
        }
        Ok(connection)
    }

    /// Makes a call whose answer only counts: returns the number of bytes in it.
    ///
    /// Also fits calls that answer with a stream of messages: it is read to its end.
    ///
    /// # Errors
    ///
    /// [`CallError`], when the transport breaks or the server answers with an error.
    pub async fn call(&mut self, method: Method, framed: Bytes) -> Result<u64, CallError> {
        let mut body = self.answer(method, framed).await?;
        let mut received = 0;
        while let Some(chunk) = body.data().await {
            let len = chunk?.len();
            body.flow_control().release_capacity(len)?;
            received += len as u64;
        }
        finish(&mut body).await?;
        Ok(received)
    }

    /// Makes a call and returns the messages of its answer.
    ///
    /// # Errors
    ///
    /// As [`Connection::call`], and [`CallError::Frame`].
    pub async fn fetch(&mut self, method: Method, framed: Bytes) -> Result<Vec<Bytes>, CallError> {
        let mut replies = ReplyStream {
            body: self.answer(method, framed).await?,
            frames: Frames::default(),
        };
        let mut messages = Vec::new();
        while let Some(message) = replies.next().await? {
            messages.push(message);
        }
        Ok(messages)
    }

    /// Opens a stream in both directions; the answer's head is awaited by the first `next`.
    ///
    /// # Errors
    ///
    /// [`CallError::Transport`].
    pub async fn stream(
        &mut self,
        method: Method,
    ) -> Result<(RequestStream, PendingReplies), CallError> {
        let (response, stream) = self.open_stream(method, false).await?;
        Ok((RequestStream(stream), PendingReplies(response)))
    }

    async fn answer(&mut self, method: Method, framed: Bytes) -> Result<RecvStream, CallError> {
        let (response, mut stream) = self.open_stream(method, false).await?;
        stream.send_data(framed, true)?;
        head(response).await
    }

    async fn open_stream(
        &mut self,
        method: Method,
        end: bool,
    ) -> Result<(ResponseFuture, SendStream<Bytes>), CallError> {
        std::future::poll_fn(|cx| self.send.poll_ready(cx)).await?;
        Ok(self.send.send_request(self.request(method), end)?)
    }

    fn request(&self, method: Method) -> Request<()> {
        let mut parts = http::uri::Parts::default();
        parts.scheme = Some(self.scheme.clone());
        parts.authority = Some(self.authority.clone());
        parts.path_and_query = Some(method.path());
        let mut request = Request::new(());
        *request.method_mut() = http::Method::POST;
        *request.version_mut() = Version::HTTP_2;
        *request.uri_mut() = Uri::from_parts(parts).unwrap_or_default();
        let headers = request.headers_mut();
        headers.reserve(3);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        headers.insert(TE, HeaderValue::from_static("trailers"));
        if let Some(token) = &self.token {
            headers.insert("token", token.clone());
        }
        request
    }
}

/// The sending half of a stream.
pub struct RequestStream(SendStream<Bytes>);

impl RequestStream {
    /// Sends one framed message; the stream stays open.
    ///
    /// # Errors
    ///
    /// [`CallError::Transport`].
    pub fn send(&mut self, framed: Bytes) -> Result<(), CallError> {
        Ok(self.0.send_data(framed, false)?)
    }
}

/// A stream whose answer has not begun.
pub struct PendingReplies(ResponseFuture);

impl PendingReplies {
    /// Waits for the head of the answer: etcd sends it with the first message.
    ///
    /// # Errors
    ///
    /// [`CallError`], also when the server refuses the call.
    pub async fn begin(self) -> Result<ReplyStream, CallError> {
        Ok(ReplyStream {
            body: head(self.0).await?,
            frames: Frames::default(),
        })
    }
}

/// The receiving half of a stream.
pub struct ReplyStream {
    body: RecvStream,
    frames: Frames,
}

impl ReplyStream {
    /// The next message, or `None` when the server ended the call well.
    ///
    /// # Errors
    ///
    /// [`CallError`], also when the server ends the call with an error.
    pub async fn next(&mut self) -> Result<Option<Bytes>, CallError> {
        loop {
            if let Some(message) = self.frames.next_message()? {
                return Ok(Some(message));
            }
            let Some(chunk) = self.body.data().await else {
                finish(&mut self.body).await?;
                return if self.frames.is_drained() {
                    Ok(None)
                } else {
                    Err(CallError::CutShort)
                };
            };
            let chunk = chunk?;
            self.body.flow_control().release_capacity(chunk.len())?;
            self.frames.push(chunk);
        }
    }
}

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// No connection.
    #[error("connecting to {endpoint}")]
    Connect {
        /// The address tried.
        endpoint: Endpoint,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The connection or the stream broke.
    #[error("transport: {0}")]
    Transport(#[from] h2::Error),
    /// The answer is not gRPC.
    #[error("HTTP status {status}")]
    Http {
        /// The HTTP status.
        status: StatusCode,
    },
    /// The server answered with an error.
    #[error("gRPC status {code}: {message}")]
    Status {
        /// The gRPC code.
        code: u16,
        /// The server's text.
        message: String,
    },
    /// The answer is framed badly.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// The answer ended within a message, or before one that was due.
    #[error("the answer ended too early")]
    CutShort,
    /// An HTTP/1.1 connection broke.
    #[error("transport: {0}")]
    Http1(#[from] hyper::Error),
    /// A WebSocket broke, or was refused.
    #[error("WebSocket: {0}")]
    WebSocket(#[from] Broken),
    /// A request of another kind than the channel takes.
    #[error("the channel does not take this kind of request")]
    Channel,
}

async fn head(response: ResponseFuture) -> Result<RecvStream, CallError> {
    let (parts, body) = response.await?.into_parts();
    if parts.status != StatusCode::OK {
        return Err(CallError::Http {
            status: parts.status,
        });
    }
    // A call that fails at once has its status here instead of in trailers.
    check_status(&parts.headers)?;
    Ok(body)
}

async fn finish(body: &mut RecvStream) -> Result<(), CallError> {
    match body.trailers().await? {
        Some(trailers) => check_status(&trailers),
        None => Ok(()),
    }
}

fn check_status(headers: &HeaderMap) -> Result<(), CallError> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    match text("grpc-status") {
        None | Some("0") => Ok(()),
        Some(code) => Err(CallError::Status {
            code: code.parse().unwrap_or(2),
            message: text("grpc-message").unwrap_or_default().to_owned(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_status_zero_or_none_is_success() {
        let mut headers = HeaderMap::new();
        assert!(check_status(&headers).is_ok());
        headers.insert("grpc-status", HeaderValue::from_static("0"));
        assert!(check_status(&headers).is_ok());
        headers.insert("grpc-status", HeaderValue::from_static("8"));
        headers.insert(
            "grpc-message",
            HeaderValue::from_static("too many requests"),
        );
        let error = check_status(&headers).unwrap_err();
        assert_eq!(error.to_string(), "gRPC status 8: too many requests");
    }
}
