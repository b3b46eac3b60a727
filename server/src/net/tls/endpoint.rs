//! The files of one endpoint, and what both directions of a connection make of them.

use std::path::PathBuf;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::client::WebPkiServerVerifier;
use rustls::crypto::CryptoProvider;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::sign::SingleCertAndKey;
use rustls::{ClientConfig, client::danger::ServerCertVerifier};

use super::authorities::Authorities;
use super::caller_verifier::CallerVerifier;
use super::certificate_policy::CertificatePolicy;
use super::error::TlsError;
use super::files::Contents;
use super::pinned::Pinned;
use super::revocation::Revocations;
use super::server_verifier::ServerVerifier;
use super::{generated, key_pair, protocol};
use crate::settings::{
    AllowedSubjects, Callers, KeyPairFiles, ServiceTls, TlsEndpoint, TlsIdentity, TlsProtocol,
    TlsVersions,
};

/// HTTP/2 where the other side speaks it.
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// An endpoint whose files are known.
#[derive(Clone)]
pub(super) struct Endpoint {
    settings: TlsEndpoint,
    own: KeyPairFiles,
    provider: Arc<CryptoProvider>,
}

/// What a listener needs of the newest files.
pub(super) struct ServerSide {
    pub(super) config: Arc<ServerConfig>,
    pub(super) verifier: Option<Arc<dyn ClientCertVerifier>>,
}

impl Endpoint {
    /// Makes the certificate, if there is none and one is to be made.
    pub(super) fn new(settings: &TlsEndpoint) -> Result<Self, TlsError> {
        let own = match &settings.identity {
            TlsIdentity::Files(files) => files.clone(),
            TlsIdentity::Generated(wanted) => generated::key_pair(wanted)?,
        };
        Ok(Self {
            settings: settings.clone(),
            own,
            provider: protocol::provider(&settings.protocol),
        })
    }

    /// Every file that matters.
    pub(super) fn paths(&self) -> Vec<PathBuf> {
        let pairs = std::iter::once(&self.own).chain(&self.settings.outgoing_identity);
        let mut paths: Vec<_> = pairs
            .flat_map(|pair| [pair.certificate.clone(), pair.key.clone()])
            .collect();
        paths.extend(self.authorities_file());
        paths.extend(self.settings.crl_file.clone());
        paths
    }

    pub(super) fn server_side(&self, contents: &Contents) -> Result<ServerSide, TlsError> {
        let own = key_pair::load(&self.own, contents, &self.provider)?;
        // What it would show elsewhere is looked at as well, so that a fault shows at start.
        if let Some(files) = &self.settings.outgoing_identity {
            key_pair::load(files, contents, &self.provider)?;
        }
        let verifier = self.caller_verifier(contents)?;
        let builder = ServerConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_protocol_versions(&self.versions())
            .map_err(no_protocol)?;
        let builder = match &verifier {
            Some(verifier) => builder.with_client_cert_verifier(Arc::clone(verifier)),
            None => builder.with_no_client_auth(),
        };
        let mut config = builder.with_cert_resolver(Arc::new(SingleCertAndKey::from(own)));
        config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).to_vec();
        // Sessions are resumed without memory of ours. Tickets end with the files they come from, as
        // their key is this configuration's.
        config.ticketer = rustls::crypto::ring::Ticketer::new().map_err(no_protocol)?;
        Ok(ServerSide {
            config: Arc::new(config),
            verifier,
        })
    }

    pub(super) fn client_side(&self, contents: &Contents) -> Result<ClientConfig, TlsError> {
        let shown = self.settings.outgoing_identity.as_ref();
        let shown = key_pair::load(shown.unwrap_or(&self.own), contents, &self.provider)?;
        let verifier = self.server_verifier(contents)?;
        let mut config = ClientConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_protocol_versions(&self.versions())
            .map_err(no_protocol)?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_client_cert_resolver(Arc::new(SingleCertAndKey::from(shown)));
        config.alpn_protocols = PROTOCOLS.iter().take(1).map(|it| it.to_vec()).collect();
        Ok(config)
    }

    fn versions(&self) -> Vec<&'static rustls::SupportedProtocolVersion> {
        protocol::versions(&self.settings.protocol, &self.provider)
    }

    fn authorities_file(&self) -> Option<PathBuf> {
        match &self.settings.callers {
            Callers::Anyone => None,
            Callers::Certified { authorities, .. } => authorities.clone(),
        }
    }

    fn authorities(&self, contents: &Contents) -> Result<Authorities, TlsError> {
        Authorities::load(self.authorities_file().as_deref(), contents)
    }

    fn caller_verifier(
        &self,
        contents: &Contents,
    ) -> Result<Option<Arc<dyn ClientCertVerifier>>, TlsError> {
        if self.settings.callers == Callers::Anyone {
            return Ok(None);
        }
        let authorities = self.authorities(contents)?;
        let roots = Arc::clone(&authorities.roots);
        let provider = Arc::clone(&self.provider);
        let signatures = WebPkiClientVerifier::builder_with_provider(roots, provider)
            .build()
            .map_err(no_protocol)?;
        Ok(Some(Arc::new(CallerVerifier {
            signatures,
            policy: self.policy(&authorities, contents)?,
            pinned: authorities.pinned,
        })))
    }

    fn server_verifier(&self, contents: &Contents) -> Result<ServerVerifier, TlsError> {
        let (signatures, policy, pinned) = match &self.settings.identity {
            TlsIdentity::Generated(_) => {
                let policy = CertificatePolicy {
                    allowed: self.settings.allowed.clone(),
                    revocations: Revocations::default(),
                };
                (None, policy, Pinned::default())
            }
            TlsIdentity::Files(_) => {
                let authorities = self.authorities(contents)?;
                let roots = Arc::clone(&authorities.roots);
                let provider = Arc::clone(&self.provider);
                let signatures: Arc<dyn ServerCertVerifier> =
                    WebPkiServerVerifier::builder_with_provider(roots, provider)
                        .build()
                        .map_err(no_protocol)?;
                let policy = self.policy(&authorities, contents)?;
                (Some(signatures), policy, authorities.pinned)
            }
        };
        Ok(ServerVerifier {
            signatures,
            pinned,
            policy,
            provider: Arc::clone(&self.provider),
        })
    }

    fn policy(
        &self,
        authorities: &Authorities,
        contents: &Contents,
    ) -> Result<CertificatePolicy, TlsError> {
        let revocations = match &self.settings.crl_file {
            Some(path) => Revocations::parse(path, contents.of(path), &authorities.names)?,
            None => Revocations::default(),
        };
        Ok(CertificatePolicy {
            allowed: self.settings.allowed.clone(),
            revocations,
        })
    }
}

/// What a connection to a service is made with.
pub(super) fn to_service(
    service: &ServiceTls,
    contents: &Contents,
) -> Result<ClientConfig, TlsError> {
    let protocol = TlsProtocol {
        versions: TlsVersions::Both,
        suites: Vec::new(),
    };
    let provider = protocol::provider(&protocol);
    let (signatures, pinned) = if service.believes_anyone {
        (None, Pinned::default())
    } else {
        let authorities = Authorities::load(service.authorities.as_deref(), contents)?;
        let verifier = WebPkiServerVerifier::builder_with_provider(
            Arc::clone(&authorities.roots),
            Arc::clone(&provider),
        );
        let verifier: Arc<dyn ServerCertVerifier> = verifier.build().map_err(no_protocol)?;
        (Some(verifier), authorities.pinned)
    };
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&protocol::versions(&protocol, &provider))
        .map_err(no_protocol)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(ServerVerifier {
            signatures,
            pinned,
            policy: CertificatePolicy {
                allowed: AllowedSubjects::Any,
                revocations: Revocations::default(),
            },
            provider: Arc::clone(&provider),
        }));
    let mut config = match &service.identity {
        Some(files) => {
            let shown = key_pair::load(files, contents, &provider)?;
            builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(shown)))
        }
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = PROTOCOLS.iter().take(1).map(|it| it.to_vec()).collect();
    Ok(config)
}

fn no_protocol(error: impl std::fmt::Display) -> TlsError {
    TlsError::Protocol {
        reason: error.to_string(),
    }
}
