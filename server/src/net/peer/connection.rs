//! One HTTP/2 connection to another member.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, Request, Response, Uri};
use hyper::body::Incoming;
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tonic::body::Body;
use tower::Service;

use crate::net::tls::ClientTls;
use crate::settings::{Place, Protection, Url};

/// How much of a stream may be under way to us: several messages with entries.
const STREAM_WINDOW_BYTES: u32 = 8 << 20;
/// The same over all streams, more than those that carry bulk have together.
const CONNECTION_WINDOW_BYTES: u32 = 32 << 20;
/// How much of a stream waits in the connection's own memory.
const SEND_BUFFER_BYTES_MAX: usize = 2 << 20;

/// Why a member cannot be reached.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectionError {
    /// It does not accept connections there.
    #[error("cannot connect to {url}: {source}")]
    Connect {
        /// Where.
        url: String,
        /// What the system says.
        source: io::Error,
    },
    /// It does not answer.
    #[error("no connection to {url} in time")]
    Timeout {
        /// Where.
        url: String,
    },
    /// What is there does not speak HTTP/2.
    #[error("no HTTP/2 at {url}: {source}")]
    Handshake {
        /// Where.
        url: String,
        /// What went wrong.
        source: hyper::Error,
    },
    /// There is no address to try.
    #[error("no address is known")]
    NoAddress,
}

/// A stream of bytes to another member.
pub(super) trait PeerIo: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> PeerIo for T {}

/// How a connection that is silent is tried.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pings {
    /// Silence after which the other side is asked whether it is still there.
    pub interval: Duration,
    /// Time for its answer.
    pub timeout: Duration,
}

impl Pings {
    /// Between members; the time is etcd's least `--raft-read-timeout`.
    pub(crate) const OF_MEMBERS: Self = Self {
        interval: Duration::from_secs(1),
        timeout: Duration::from_secs(5),
    };
}

/// How connections to other members are made.
#[derive(Clone)]
pub(crate) struct Connector {
    /// How long one try may take.
    pub timeout: Duration,
    /// While it lasts.
    pub pings: Pings,
    /// For addresses that begin with `https`.
    pub tls: Option<Arc<ClientTls>>,
}

impl Connector {
    /// Connects to the first of `urls` that answers; calls carry `headers`.
    ///
    /// # Errors
    ///
    /// The last address's [`ConnectionError`].
    pub(crate) async fn connect(
        &self,
        urls: &[Url],
        headers: HeaderMap,
    ) -> Result<Connection, ConnectionError> {
        let headers = Arc::new(headers);
        let mut last = ConnectionError::NoAddress;
        for url in urls {
            let connected = self.connect_to(url, Arc::clone(&headers));
            match tokio::time::timeout(self.timeout, connected).await {
                Ok(Ok(connection)) => return Ok(connection),
                Ok(Err(error)) => last = error,
                Err(_) => {
                    last = ConnectionError::Timeout {
                        url: url.to_string(),
                    }
                }
            }
        }
        Err(last)
    }

    async fn connect_to(
        &self,
        url: &Url,
        headers: Arc<HeaderMap>,
    ) -> Result<Connection, ConnectionError> {
        let stream = self
            .open(url)
            .await
            .map_err(|source| ConnectionError::Connect {
                url: url.to_string(),
                source,
            })?;
        let handshake = Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .max_send_buf_size(SEND_BUFFER_BYTES_MAX)
            .keep_alive_interval(self.pings.interval)
            .keep_alive_timeout(self.pings.timeout)
            .handshake(TokioIo::new(stream))
            .await;
        let (sender, connection) = handshake.map_err(|source| ConnectionError::Handshake {
            url: url.to_string(),
            source,
        })?;
        // The task ends with the connection: when all calls and senders are gone, or it breaks.
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection to a member ended");
            }
        });
        Ok(Connection {
            sender,
            authority: authority(url),
            headers,
        })
    }

    /// Opens the stream of bytes, in TLS if the address says so.
    async fn open(&self, url: &Url) -> io::Result<Box<dyn PeerIo>> {
        match url.place() {
            Place::Tcp { host, port } => {
                let stream = TcpStream::connect((host.as_str(), *port)).await?;
                stream.set_nodelay(true)?;
                self.protect(stream, url, host).await
            }
            Place::Unix { path } => {
                let stream = UnixStream::connect(path).await?;
                self.protect(stream, url, "localhost").await
            }
        }
    }

    async fn protect<S: PeerIo + 'static>(
        &self,
        stream: S,
        url: &Url,
        host: &str,
    ) -> io::Result<Box<dyn PeerIo>> {
        match (url.protection(), &self.tls) {
            (Protection::Plain, _) => Ok(Box::new(stream)),
            (Protection::Tls, Some(tls)) => Ok(Box::new(tls.connect(stream, host).await?)),
            (Protection::Tls, None) => Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "the address wants TLS, for which no --peer-* flag is set",
            )),
        }
    }
}

/// A connection, as gRPC's clients use it. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Connection {
    sender: SendRequest<Body>,
    authority: Authority,
    headers: Arc<HeaderMap>,
}

impl Service<Request<Body>> for Connection {
    type Response = Response<Incoming>;
    type Error = hyper::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.sender.poll_ready(context)
    }

    fn call(&mut self, mut call: Request<Body>) -> Self::Future {
        let path = call.uri().path_and_query().cloned();
        let mut uri = http::uri::Parts::default();
        uri.scheme = Some(Scheme::HTTP);
        uri.authority = Some(self.authority.clone());
        uri.path_and_query = Some(path.unwrap_or_else(|| PathAndQuery::from_static("/")));
        // All three parts are there, so they make a URI.
        if let Ok(uri) = Uri::from_parts(uri) {
            *call.uri_mut() = uri;
        }
        for (name, value) in self.headers.as_ref() {
            call.headers_mut().insert(name, value.clone());
        }
        Box::pin(self.sender.send_request(call))
    }
}

fn authority(url: &Url) -> Authority {
    let text = match url.place() {
        Place::Tcp { host, port } if host.contains(':') => format!("[{host}]:{port}"),
        Place::Tcp { host, port } => format!("{host}:{port}"),
        Place::Unix { .. } => "localhost".to_owned(),
    };
    Authority::try_from(text).unwrap_or_else(|_| Authority::from_static("localhost"))
}
