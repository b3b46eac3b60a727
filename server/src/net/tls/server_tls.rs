//! TLS on connections that others make.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::HandshakeKind;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::Acceptor;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Semaphore;
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;

use super::caller_address;
use super::certificate_policy;
use super::endpoint::{Endpoint, ServerSide};
use super::error::TlsError;
use super::rejections::Rejections;
use super::source::Source;
use super::words::in_etcds_words;
use crate::member::auth::ClientCertificate;
use crate::settings::{Callers, TlsEndpoint};

/// A client that has not shaken hands by then is cut off; etcd's time.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// Handshakes that may be under way, of clients that have said hello. Further ones wait.
const HANDSHAKES_MAX: usize = 1024;

/// TLS for one kind of counterpart: shared by all listeners for it, and by all workers.
pub(crate) struct ServerTls {
    source: Source<ServerSide>,
    handshakes: Semaphore,
    pub(super) handshake_timeout: Duration,
    rejections: Rejections,
    name_is_user: bool,
    checks_caller_address: bool,
}

/// A connection whose handshake is done.
pub(crate) struct Secured<S> {
    /// The connection.
    pub stream: TlsStream<S>,
    /// The client, where certificates name users.
    pub certificate: Option<ClientCertificate>,
}

/// A handshake that failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HandshakeError {
    /// The counterpart said nothing, or not enough.
    #[error("TLS handshake timeout")]
    TimedOut,
    /// It broke off.
    #[error("{0}")]
    Broken(io::Error),
    /// It broke the protocol, refused our certificate, or showed one that is refused.
    #[error("{}", in_etcds_words(&_0.to_string()))]
    Refused(rustls::Error),
    /// It showed a certificate that we refuse by a rule of our own.
    #[error("{0}")]
    NotAllowed(String),
    /// The certificate is not for the address that the counterpart calls from.
    #[error("{0}")]
    WrongAddress(#[from] caller_address::WrongAddress),
}

impl From<rustls::Error> for HandshakeError {
    fn from(error: rustls::Error) -> Self {
        match certificate_policy::refusal(&error) {
            Some(refusal) => Self::NotAllowed(refusal.to_owned()),
            None => Self::Refused(error),
        }
    }
}

impl From<io::Error> for HandshakeError {
    /// tokio-rustls wraps what rustls says.
    fn from(error: io::Error) -> Self {
        match error.downcast::<rustls::Error>() {
            Ok(error) => error.into(),
            Err(error) => Self::Broken(error),
        }
    }
}

impl ServerTls {
    /// Reads the files of `endpoint`, and makes them if it says so.
    ///
    /// # Errors
    ///
    /// [`TlsError`], whose text tells an operator what to do.
    pub(crate) fn load(endpoint: &TlsEndpoint) -> Result<Arc<Self>, TlsError> {
        let files = Endpoint::new(endpoint)?;
        let paths = files.paths();
        let source = Source::load(paths, move |contents| files.server_side(contents))?;
        let name_is_user = matches!(
            endpoint.callers,
            Callers::Certified {
                name_is_user: true,
                ..
            }
        );
        Ok(Arc::new(Self {
            source,
            handshakes: Semaphore::new(HANDSHAKES_MAX),
            handshake_timeout: HANDSHAKE_TIMEOUT,
            rejections: Rejections::new(endpoint.kind),
            name_is_user,
            checks_caller_address: endpoint.checks_caller_address,
        }))
    }

    /// Shakes hands. None if that failed, which is in the log then. `remote` is where the counterpart
    /// calls from; none for a unix socket.
    pub(crate) async fn accept<S>(
        &self,
        stream: S,
        remote: Option<SocketAddr>,
    ) -> Option<Secured<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let mut server_name = None;
        let handshake = self.handshake(stream, remote, &mut server_name);
        let done = tokio::time::timeout(self.handshake_timeout, handshake).await;
        match done.unwrap_or(Err(HandshakeError::TimedOut)) {
            Ok(secured) => Some(secured),
            Err(error) => {
                self.rejections
                    .tell(remote, server_name.as_deref().unwrap_or_default(), &error);
                None
            }
        }
    }

    async fn handshake<S>(
        &self,
        stream: S,
        remote: Option<SocketAddr>,
        server_name: &mut Option<String>,
    ) -> Result<Secured<S>, HandshakeError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        // Who is silent takes no turn.
        let hello = LazyConfigAcceptor::new(Acceptor::default(), stream).await?;
        *server_name = hello.client_hello().server_name().map(str::to_owned);
        let turn = self.handshakes.acquire().await;
        let newest = self.source.newest();
        let stream = hello.into_stream(Arc::clone(&newest.config)).await?;
        drop(turn);
        let (_, connection) = stream.get_ref();
        let mut certificate = None;
        if let Some((own, chain)) = connection.peer_certificates().and_then(<[_]>::split_first) {
            if connection.handshake_kind() == Some(HandshakeKind::Resumed) {
                verify_again(&newest, own, chain)?;
            }
            if let (true, Some(remote)) = (self.checks_caller_address, remote) {
                caller_address::check(own, remote.ip()).await?;
            }
            certificate = self.name_is_user.then(|| ClientCertificate::new(own));
        }
        Ok(Secured {
            stream,
            certificate,
        })
    }
}

/// A session may outlive its certificate.
fn verify_again(
    newest: &ServerSide,
    own: &CertificateDer<'_>,
    chain: &[CertificateDer<'_>],
) -> Result<(), rustls::Error> {
    match &newest.verifier {
        Some(verifier) => verifier
            .verify_client_cert(own, chain, UnixTime::now())
            .map(drop),
        None => Ok(()),
    }
}
