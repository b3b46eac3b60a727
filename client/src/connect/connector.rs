//! From an endpoint to a socket that bytes go through.

use std::future::Future;
use std::io;
use std::pin::Pin;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
#[cfg(feature = "tls")]
use tokio_rustls::TlsConnector;

use super::endpoint::{Endpoint, Place};
use super::options::ConnectOptions;
#[cfg(feature = "tls")]
use super::tls::Tls;

/// Bytes in both directions.
pub trait Socket: AsyncRead + AsyncWrite + Send + Unpin + 'static {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin + 'static> Socket for T {}

/// A connection on its way.
pub type Connecting = Pin<Box<dyn Future<Output = io::Result<Box<dyn Socket>>> + Send>>;

/// A way of one's own to reach servers: through a proxy, or within the process in a test.
pub trait Connector: Send + Sync + 'static {
    /// Connects to an endpoint; TLS is spoken over what comes back, if the endpoint has it.
    fn connect(&self, endpoint: Endpoint) -> Connecting;
}

impl<F, R> Connector for F
where
    F: Fn(Endpoint) -> R + Send + Sync + 'static,
    R: Future<Output = io::Result<Box<dyn Socket>>> + Send + 'static,
{
    fn connect(&self, endpoint: Endpoint) -> Connecting {
        Box::pin(self(endpoint))
    }
}

/// Connects for HTTP/2, and speaks TLS where the endpoint asks for it.
pub(crate) async fn dial(
    endpoint: &Endpoint,
    options: &ConnectOptions,
) -> io::Result<Box<dyn Socket>> {
    dial_as(endpoint, options, b"h2").await
}

/// The same for HTTP/1.1.
pub(crate) async fn dial_http1(
    endpoint: &Endpoint,
    options: &ConnectOptions,
) -> io::Result<Box<dyn Socket>> {
    dial_as(endpoint, options, b"http/1.1").await
}

async fn dial_as(
    endpoint: &Endpoint,
    options: &ConnectOptions,
    protocol: &[u8],
) -> io::Result<Box<dyn Socket>> {
    let socket = match &options.connector {
        Some(connector) => connector.connect(endpoint.clone()).await?,
        None => plain(endpoint).await?,
    };
    if !options.secures(endpoint) {
        return Ok(socket);
    }
    secured(endpoint, options, protocol, socket).await
}

#[cfg(not(feature = "tls"))]
async fn secured(
    endpoint: &Endpoint,
    _options: &ConnectOptions,
    _protocol: &[u8],
    _socket: Box<dyn Socket>,
) -> io::Result<Box<dyn Socket>> {
    let reason =
        format!("{endpoint} asks for TLS, and the client was built without the feature tls");
    Err(io::Error::new(io::ErrorKind::Unsupported, reason))
}

#[cfg(feature = "tls")]
async fn secured(
    endpoint: &Endpoint,
    options: &ConnectOptions,
    protocol: &[u8],
    socket: Box<dyn Socket>,
) -> io::Result<Box<dyn Socket>> {
    let standard = Tls::new();
    let tls = options.tls.as_ref().unwrap_or(&standard);
    let config = tls.config(protocol).map_err(io::Error::other)?;
    let name = tls
        .name_of(endpoint.server_name())
        .map_err(io::Error::other)?;
    let secured = TlsConnector::from(config).connect(name, socket).await?;
    Ok(Box::new(secured))
}

async fn plain(endpoint: &Endpoint) -> io::Result<Box<dyn Socket>> {
    match endpoint.place() {
        Place::Tcp { host, port } => {
            let socket = TcpStream::connect((host.as_str(), *port)).await?;
            socket.set_nodelay(true)?;
            Ok(Box::new(socket))
        }
        Place::Unix(path) => Ok(Box::new(UnixStream::connect(path).await?)),
    }
}
