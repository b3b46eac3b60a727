//! Connected sockets, secured or not.

use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::endpoint::Endpoint;
use crate::tls;

/// A connected socket.
pub(crate) trait Socket: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Socket for S {}

/// Connects, with TLS where it is spoken.
pub(crate) async fn connect(endpoint: Endpoint) -> std::io::Result<Box<dyn Socket>> {
    let socket = TcpStream::connect(endpoint.address()).await?;
    socket.set_nodelay(true)?;
    if !endpoint.is_tls() {
        return Ok(Box::new(socket));
    }
    let name = ServerName::from(endpoint.address().ip());
    let connector = TlsConnector::from(tls::config()?);
    Ok(Box::new(connector.connect(name, socket).await?))
}
