//! A connection: made, driven, asked whether it lives, and called on.

use std::future::{Future as _, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use h2::client::{ResponseFuture, SendRequest};
use h2::{Ping, RecvStream, SendStream};
use http::header::{CONTENT_TYPE, HeaderValue, TE};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{Request, StatusCode, Uri, Version};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::attached::{Attached, Attacher, attached};
use super::failure::CallFailure;
use super::framing::Frames;
use super::status;
use super::streaming::{Replies, Requests, halves};
use super::vital::{Vital, Watched};
use super::wake_flag::WakeFlag;
use crate::connect::{ConnectOptions, Endpoint, Limits, Socket, dial};

/// What one stream may send us before we read.
const STREAM_WINDOW: u32 = 4 << 20;
/// What one connection may send us before we read.
const CONNECTION_WINDOW: u32 = 64 << 20;
/// The largest data frame we take.
const FRAME_LEN_MAX: u32 = 1 << 20;
/// Streams that may be opened before the server's own limit is known.
const STREAMS_BEFORE_SETTINGS: usize = 100;

/// A handle to a connection; clones share it.
#[derive(Clone)]
pub(crate) struct Connection(Arc<Shared>);

struct Shared {
    send: SendRequest<Bytes>,
    scheme: Scheme,
    authority: Authority,
    vital: Arc<Vital>,
    message_bytes_max: usize,
    /// Closed when the connection is.
    alive: watch::Receiver<()>,
    attacher: Attacher,
}

/// What has begun.
struct Begun {
    send: SendRequest<Bytes>,
    alive: watch::Receiver<()>,
    attacher: Attacher,
}

/// Tells when a connection is lost, without keeping it.
#[derive(Clone, Debug)]
pub(crate) struct Liveness(watch::Receiver<()>);

impl Liveness {
    /// Returns when the connection is lost.
    pub(crate) async fn lost(mut self) {
        while self.0.changed().await.is_ok() {}
    }
}

/// What goes with a call beside its message.
#[derive(Clone, Debug, Default)]
pub(crate) struct Headers {
    /// Who calls.
    pub(crate) token: Option<HeaderValue>,
    /// Whether a member without a leader shall refuse.
    pub(crate) require_leader: bool,
}

impl Connection {
    /// Connects, and drives the connection in a task until all handles are gone or it is lost.
    pub(crate) async fn open(endpoint: &Endpoint, options: &ConnectOptions) -> io::Result<Self> {
        let authority = Authority::try_from(endpoint.authority()).map_err(io::Error::other)?;
        let is_secured = options.secures(endpoint);
        let vital = Arc::new(Vital::default());
        let limits = options.limits;
        let opening = async {
            let socket = dial(endpoint, options).await?;
            begin(socket, Arc::clone(&vital), limits).await
        };
        let begun = timeout(limits.connect_timeout, opening)
            .await
            .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
        Ok(Self(Arc::new(Shared {
            send: begun.send,
            scheme: if is_secured {
                Scheme::HTTPS
            } else {
                Scheme::HTTP
            },
            authority,
            vital,
            message_bytes_max: limits.response_bytes_max,
            alive: begun.alive,
            attacher: begun.attacher,
        })))
    }

    /// Whether the connection may still be called on.
    pub(crate) fn is_alive(&self) -> bool {
        self.0.alive.has_changed().is_ok()
    }

    /// What tells that it is lost.
    pub(crate) fn liveness(&self) -> Liveness {
        Liveness(self.0.alive.clone())
    }

    /// What gives futures to its task.
    pub(crate) fn attacher(&self) -> Attacher {
        self.0.attacher.clone()
    }

    /// Makes a call with one framed message each way.
    pub(crate) async fn unary(
        &self,
        path: PathAndQuery,
        headers: &Headers,
        framed: Bytes,
    ) -> Result<Bytes, CallFailure> {
        let (response, mut stream) = self.begin_call(path, headers).await?;
        let _open = self.0.vital.open();
        if let Err(error) = stream.send_data(framed, true) {
            return Err(CallFailure::of_stream(&error));
        }
        let response = response.await;
        let response = response.map_err(|error| CallFailure::of_stream(&error))?;
        let (parts, mut body) = response.into_parts();
        check_head(&parts)?;
        let mut frames = Frames::new(self.0.message_bytes_max);
        let mut message = None;
        while let Some(chunk) = body.data().await {
            let chunk = chunk.map_err(|error| CallFailure::of_stream(&error))?;
            let _ = body.flow_control().release_capacity(chunk.len());
            frames.push(chunk);
            if message.is_none() {
                message = frames.next_message()?;
            }
        }
        end_of(&mut body).await?;
        match message {
            Some(message) if frames.is_drained() => Ok(message),
            _ => Err(CallFailure::Lost("the answer ended too early".to_owned())),
        }
    }

    /// Opens a call with streams.
    pub(crate) async fn open_stream(
        &self,
        path: PathAndQuery,
        headers: &Headers,
    ) -> Result<(Requests, Replies), CallFailure> {
        let (response, stream) = self.begin_call(path, headers).await?;
        Ok(halves(
            response,
            stream,
            self.0.message_bytes_max,
            &self.0.vital,
        ))
    }

    /// Opens a call with one message, answered by a stream.
    pub(crate) async fn server_stream(
        &self,
        path: PathAndQuery,
        headers: &Headers,
        framed: Bytes,
    ) -> Result<Replies, CallFailure> {
        let (response, mut stream) = self.begin_call(path, headers).await?;
        let sent = stream.send_data(framed, true);
        sent.map_err(|error| CallFailure::of_stream(&error))?;
        Ok(Replies::new(
            response,
            self.0.message_bytes_max,
            self.0.vital.open(),
        ))
    }

    async fn begin_call(
        &self,
        path: PathAndQuery,
        headers: &Headers,
    ) -> Result<(ResponseFuture, SendStream<Bytes>), CallFailure> {
        let not_sent = |error: h2::Error| CallFailure::NotProcessed(error.to_string());
        let mut send = self.0.send.clone();
        poll_fn(|cx| send.poll_ready(cx)).await.map_err(not_sent)?;
        let request = self.request(path, headers)?;
        send.send_request(request, false).map_err(not_sent)
    }

    #[cfg(feature = "relay")]
    pub(super) fn vital(&self) -> &Arc<Vital> {
        &self.0.vital
    }

    /// Begins a call with headers of somebody else's.
    #[cfg(feature = "relay")]
    pub(super) async fn begin_relay(
        &self,
        path: PathAndQuery,
        headers: http::HeaderMap,
    ) -> Result<(ResponseFuture, SendStream<Bytes>), CallFailure> {
        let not_sent = |error: h2::Error| CallFailure::NotProcessed(error.to_string());
        let mut send = self.0.send.clone();
        poll_fn(|cx| send.poll_ready(cx)).await.map_err(not_sent)?;
        let mut request = self.request(path, &Headers::default())?;
        let own = std::mem::replace(request.headers_mut(), headers);
        request.headers_mut().extend(own);
        send.send_request(request, false).map_err(not_sent)
    }

    fn request(&self, path: PathAndQuery, headers: &Headers) -> Result<Request<()>, CallFailure> {
        let mut parts = http::uri::Parts::default();
        parts.scheme = Some(self.0.scheme.clone());
        parts.authority = Some(self.0.authority.clone());
        parts.path_and_query = Some(path);
        let uri =
            Uri::from_parts(parts).map_err(|error| CallFailure::NotProcessed(error.to_string()))?;
        let mut request = Request::new(());
        *request.method_mut() = http::Method::POST;
        *request.version_mut() = Version::HTTP_2;
        *request.uri_mut() = uri;
        let map = request.headers_mut();
        map.reserve(4);
        map.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        map.insert(TE, HeaderValue::from_static("trailers"));
        if let Some(token) = &headers.token {
            map.insert("token", token.clone());
        }
        if headers.require_leader {
            map.insert("hasleader", HeaderValue::from_static("true"));
        }
        Ok(request)
    }
}

/// Begins HTTP/2 over a socket.
async fn begin(socket: Box<dyn Socket>, vital: Arc<Vital>, limits: Limits) -> io::Result<Begun> {
    let socket = Watched {
        socket,
        vital: Arc::clone(&vital),
    };
    let (send, driver) = h2::client::Builder::new()
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_frame_size(FRAME_LEN_MAX)
        .initial_max_send_streams(STREAMS_BEFORE_SETTINGS)
        .enable_push(false)
        .handshake(socket)
        .await
        .map_err(io::Error::other)?;
    vital.begin();
    let (guard, alive) = watch::channel(());
    let (attacher, mut attached) = attached();
    tokio::spawn(async move {
        drive(driver, &mut attached, &vital, limits).await;
        drop(guard);
        attached.finish().await;
    });
    Ok(Begun {
        send,
        alive,
        attacher,
    })
}

/// Drives a connection, and what is attached to it, until it ends or no longer answers. Calls that are open
/// then fail.
async fn drive(
    mut driver: h2::client::Connection<Watched<Box<dyn Socket>>, Bytes>,
    attached: &mut Attached,
    vital: &Vital,
    limits: Limits,
) {
    let pings = driver.ping_pong();
    let task = poll_fn(|cx| Poll::Ready(cx.waker().clone())).await;
    let (of_driver, of_attached) = (WakeFlag::raised(task.clone()), WakeFlag::raised(task));
    let (driver_waker, attached_waker) = (of_driver.clone().into(), of_attached.clone().into());
    let mut silence = pin!(silence(pings, vital, limits));
    poll_fn(|cx| {
        // The socket first: what it brings is there when those that wait for it are polled.
        if of_driver.lower()
            && let Poll::Ready(ended) =
                Pin::new(&mut driver).poll(&mut Context::from_waker(&driver_waker))
        {
            if let Err(error) = ended {
                tracing::debug!(%error, "a connection ended");
            }
            return Poll::Ready(());
        }
        if of_attached.lower() {
            attached.poll(&mut Context::from_waker(&attached_waker));
        }
        if silence.as_mut().poll(cx).is_ready() {
            tracing::debug!("a connection no longer answers");
            return Poll::Ready(());
        }
        Poll::Pending
    })
    .await;
}

/// Returns when the server gives no sign of life that owes something, or is to be asked in any case.
async fn silence(mut pings: Option<h2::PingPong>, vital: &Vital, limits: Limits) {
    loop {
        let before = vital.received();
        sleep(limits.keepalive_interval).await;
        let is_due = vital.is_owed() || limits.keepalive_while_idle;
        if !is_due || vital.received() != before {
            continue;
        }
        if let Some(pings) = &mut pings {
            // It fails if a ping is under way already, or the driver is about to end.
            let _ = pings.send_ping(Ping::opaque());
        }
        let asked = vital.received();
        let pong = async {
            match &mut pings {
                Some(pings) => drop(poll_fn(|cx| pings.poll_pong(cx)).await),
                None => std::future::pending().await,
            }
        };
        let answered = timeout(limits.keepalive_timeout, pong).await.is_ok();
        if !answered && vital.received() == asked {
            return;
        }
    }
}

/// Whether the head of an answer is one of gRPC, and not of a call that failed at once.
pub(super) fn check_head(parts: &http::response::Parts) -> Result<(), CallFailure> {
    match status::of_headers(&parts.headers) {
        Some(status) => status,
        None if parts.status == StatusCode::OK => Ok(()),
        None => Err(status::of_http(parts.status)),
    }
}

/// The status after the last message. An answer without one was cut short.
pub(super) async fn end_of(body: &mut RecvStream) -> Result<(), CallFailure> {
    let trailers = body.trailers().await;
    let trailers = trailers.map_err(|error| CallFailure::of_stream(&error))?;
    match trailers.as_ref().and_then(status::of_headers) {
        Some(status) => status,
        None => Err(CallFailure::Lost("the answer has no status".to_owned())),
    }
}

/// A token as a header; `None` if it cannot be one.
pub(crate) fn token_header(token: &str) -> Option<HeaderValue> {
    let mut value =
        HeaderValue::from_maybe_shared(BytesMut::from(token.as_bytes()).freeze()).ok()?;
    value.set_sensitive(true);
    Some(value)
}
