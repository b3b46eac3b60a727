//! TLS on connections that this member makes to others.

use std::io;
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::certificate_policy;
use super::endpoint::{self, Endpoint};
use super::error::TlsError;
use super::source::Source;
use crate::member::auth::CommonName;
use crate::settings::{ServiceTls, TlsEndpoint};

/// TLS towards other members, or towards a service.
pub(crate) struct ClientTls {
    source: Source<Arc<ClientConfig>>,
}

impl ClientTls {
    /// Reads the files of `endpoint`, and makes them if it says so.
    ///
    /// # Errors
    ///
    /// [`TlsError`], whose text tells an operator what to do.
    pub(crate) fn load(endpoint: &TlsEndpoint) -> Result<Arc<Self>, TlsError> {
        let files = Endpoint::new(endpoint)?;
        let paths = files.paths();
        let source = Source::load(paths, move |contents| {
            files.client_side(contents).map(Arc::new)
        })?;
        Ok(Arc::new(Self { source }))
    }

    /// Reads the files of `service`.
    ///
    /// # Errors
    ///
    /// As [`Self::load`].
    pub(crate) fn to_service(service: &ServiceTls) -> Result<Arc<Self>, TlsError> {
        let service = service.clone();
        let identity = service.identity.as_ref();
        let identity = identity.map(|pair| [pair.certificate.clone(), pair.key.clone()]);
        let mut paths: Vec<_> = identity.into_iter().flatten().collect();
        paths.extend(service.authorities.clone());
        let source = Source::load(paths, move |contents| {
            endpoint::to_service(&service, contents).map(Arc::new)
        })?;
        Ok(Arc::new(Self { source }))
    }

    /// The configuration of the newest files that make sense. To be asked for each connection.
    pub(crate) fn newest(&self) -> Arc<ClientConfig> {
        Arc::clone(&self.source.newest())
    }

    /// The common name of the certificate that this member shows to others.
    pub(crate) fn own_name(&self) -> Option<String> {
        let config = self.newest();
        let schemes = config
            .crypto_provider()
            .signature_verification_algorithms
            .supported_schemes();
        let own = config.client_auth_cert_resolver.resolve(&[], &schemes)?;
        let name = CommonName::of(own.cert.first()?)?;
        Some(name.as_str().to_owned())
    }

    /// Shakes hands with `host`, a name or an address without brackets, which the other side's
    /// certificate must be for. HTTP/2 is what is spoken then.
    ///
    /// There is no time limit in it: how long a connection may take is the caller's to say.
    ///
    /// # Errors
    ///
    /// The connection's, or that a certificate is refused.
    pub(crate) async fn connect<S>(&self, stream: S, host: &str) -> io::Result<TlsStream<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let name = ServerName::try_from(host.to_owned())
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        TlsConnector::from(self.newest())
            .connect(name, stream)
            .await
            .map_err(told)
    }
}

/// Says what the policy said as it said it.
fn told(error: io::Error) -> io::Error {
    let inner = error.get_ref().and_then(|it| it.downcast_ref());
    match inner.and_then(certificate_policy::refusal) {
        Some(refusal) => io::Error::new(io::ErrorKind::PermissionDenied, refusal.to_owned()),
        None => error,
    }
}
