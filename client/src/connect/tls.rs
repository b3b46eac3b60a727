//! TLS of a client: whom it believes and who it is.
//!
//! Files are read anew for each connection, so that a certificate that was renewed is shown from
//! the next connection on, and a restart is never needed.

use std::path::PathBuf;
use std::sync::Arc;

use tokio_rustls::rustls;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

use crate::error::Error;

/// How to speak TLS to `https` endpoints.
#[derive(Clone, Debug, Default)]
pub struct Tls {
    roots: Vec<Pem>,
    identity: Option<(Pem, Pem)>,
    server_name: Option<String>,
    believes_anyone: bool,
}

/// PEM in a file or at hand.
#[derive(Clone)]
enum Pem {
    File(PathBuf),
    Text(Vec<u8>),
}

impl std::fmt::Debug for Pem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File(path) => path.fmt(f),
            // May hold a private key.
            Self::Text(_) => f.write_str("PEM"),
        }
    }
}

impl Tls {
    /// Believes the authorities of the operating system, unless others are given.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Believes the authorities in a PEM file, and no others but those added the same way.
    #[must_use]
    pub fn ca_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.roots.push(Pem::File(path.into()));
        self
    }

    /// Believes the authorities in a PEM text.
    #[must_use]
    pub fn ca_pem(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.roots.push(Pem::Text(pem.into()));
        self
    }

    /// Shows a certificate, from PEM files that are read again for each connection.
    #[must_use]
    pub fn identity_files(mut self, cert: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        self.identity = Some((Pem::File(cert.into()), Pem::File(key.into())));
        self
    }

    /// Shows a certificate.
    #[must_use]
    pub fn identity_pem(mut self, cert: impl Into<Vec<u8>>, key: impl Into<Vec<u8>>) -> Self {
        self.identity = Some((Pem::Text(cert.into()), Pem::Text(key.into())));
        self
    }

    /// The name that servers' certificates must have, in place of the endpoint's host.
    #[must_use]
    pub fn server_name(mut self, name: impl Into<String>) -> Self {
        self.server_name = Some(name.into());
        self
    }

    /// Believes any server: whoever is on the path can read and change what is sent.
    #[must_use]
    pub fn insecure_skip_verify(mut self) -> Self {
        self.believes_anyone = true;
        self
    }

    /// The name to ask a server for.
    pub(crate) fn name_of(&self, host: &str) -> Result<ServerName<'static>, Error> {
        let name = self.server_name.as_deref().unwrap_or(host);
        ServerName::try_from(name.to_owned())
            .map_err(|error| Error::invalid(format!("server name {name:?}"), error.to_string()))
    }

    /// Reads the files and builds what a handshake for an application protocol needs.
    pub(crate) fn config(&self, protocol: &[u8]) -> Result<Arc<ClientConfig>, Error> {
        let provider = Arc::new(ring::default_provider());
        let tls = |error: rustls::Error| Error::invalid("TLS", error.to_string());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(tls)?;
        let builder = if self.believes_anyone {
            builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(Anyone(provider)))
        } else {
            builder.with_root_certificates(self.root_store()?)
        };
        let mut config = match &self.identity {
            Some((cert, key)) => {
                let chain = cert.certificates()?;
                builder
                    .with_client_auth_cert(chain, key.private_key()?)
                    .map_err(tls)?
            }
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = vec![protocol.to_vec()];
        Ok(Arc::new(config))
    }

    fn root_store(&self) -> Result<RootCertStore, Error> {
        let mut store = RootCertStore::empty();
        if self.roots.is_empty() {
            let native = rustls_native_certs::load_native_certs();
            store.add_parsable_certificates(native.certs);
            if store.is_empty() {
                let reasons: Vec<String> = native.errors.iter().map(ToString::to_string).collect();
                let reason = format!("there are none: {}", reasons.join("; "));
                return Err(Error::invalid(
                    "the system's certificate authorities",
                    reason,
                ));
            }
        }
        for pem in &self.roots {
            for root in pem.certificates()? {
                store
                    .add(root)
                    .map_err(|error| Error::invalid(pem.name(), error.to_string()))?;
            }
        }
        Ok(store)
    }
}

impl Pem {
    fn name(&self) -> String {
        match self {
            Self::File(path) => path.display().to_string(),
            Self::Text(_) => "the PEM text".to_owned(),
        }
    }

    fn text(&self) -> Result<Vec<u8>, Error> {
        match self {
            Self::File(path) => {
                std::fs::read(path).map_err(|error| Error::invalid(self.name(), error.to_string()))
            }
            Self::Text(text) => Ok(text.clone()),
        }
    }

    fn certificates(&self) -> Result<Vec<CertificateDer<'static>>, Error> {
        let text = self.text()?;
        let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
        match read {
            Ok(found) if found.is_empty() => {
                Err(Error::invalid(self.name(), "there is no certificate in it"))
            }
            Ok(found) => Ok(found),
            Err(error) => Err(Error::invalid(self.name(), error.to_string())),
        }
    }

    fn private_key(&self) -> Result<PrivateKeyDer<'static>, Error> {
        PrivateKeyDer::from_pem_slice(&self.text()?)
            .map_err(|error| Error::invalid(self.name(), error.to_string()))
    }
}

/// Believes every server.
#[derive(Debug)]
struct Anyone(Arc<CryptoProvider>);

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _own: &CertificateDer<'_>,
        _chain: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
