//! A port of the server under attack, in plain text or with TLS.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use anyhow::{Context, Result};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;

use crate::certificates::Certificates;

/// A connection, whatever protects it.
pub(super) trait Socket: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Socket for S {}

pub(super) type Stream = Box<dyn Socket>;

/// Where clients connect.
#[derive(Clone)]
pub(super) struct Port {
    pub(super) address: SocketAddr,
    /// Where connections come from, if that is not the system's choice.
    from: Option<IpAddr>,
    tls: Option<TlsConnector>,
}

impl Port {
    pub(super) const fn plain(address: SocketAddr) -> Self {
        Self {
            address,
            from: None,
            tls: None,
        }
    }

    /// A port whose certificate is of this authority.
    pub(super) fn secured(address: SocketAddr, certificates: &Certificates) -> Result<Self> {
        let mut roots = RootCertStore::empty();
        let authority = CertificateDer::from_pem_file(certificates.authority())
            .context("reading the authority's certificate")?;
        roots.add(authority)?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"h2".to_vec()];
        // Whoever is hostile saves the server no work.
        config.resumption = rustls::client::Resumption::disabled();
        Ok(Self {
            tls: Some(TlsConnector::from(Arc::new(config))),
            ..Self::plain(address)
        })
    }

    /// The same, for clients at another address of this machine: their ports are their own.
    pub(super) fn from(mut self, from: IpAddr) -> Self {
        self.from = Some(from);
        self
    }

    pub(super) const fn is_secured(&self) -> bool {
        self.tls.is_some()
    }

    pub(super) const fn name(&self) -> &'static str {
        if self.is_secured() { "TLS" } else { "plain" }
    }

    /// A connection on which HTTP may begin.
    pub(super) async fn connect(&self) -> std::io::Result<Stream> {
        let socket = self.connect_tcp().await?;
        match &self.tls {
            None => Ok(Box::new(socket)),
            Some(tls) => {
                let name = ServerName::from(self.address.ip());
                Ok(Box::new(tls.connect(name, socket).await?))
            }
        }
    }

    /// A connection on which nothing has been said.
    pub(super) async fn connect_tcp(&self) -> std::io::Result<TcpStream> {
        let socket = match self.from {
            None => TcpStream::connect(self.address).await?,
            Some(from) => {
                let socket = TcpSocket::new_v4()?;
                socket.bind((from, 0).into())?;
                socket.connect(self.address).await?
            }
        };
        socket.set_nodelay(true)?;
        Ok(socket)
    }
}
