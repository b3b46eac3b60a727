//! The user whom a client certificate speaks of.

use std::fmt;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use x509_parser::prelude::{FromDer, X509Certificate};

/// The common name of a certificate's subject. Never empty.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct CommonName(String);

impl CommonName {
    /// That of `certificate`; the last, if there are several.
    #[must_use]
    pub(crate) fn of(certificate: &CertificateDer<'_>) -> Option<Self> {
        let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
        let name = parsed.subject().iter_common_name().last()?.as_str().ok()?;
        (!name.is_empty()).then(|| Self(name.to_owned()))
    }

    /// The name.
    #[must_use]
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for CommonName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The verified certificate of a client whose common name is its user name. In the extensions of each
/// request of its connection, and only where `--client-cert-auth` is set.
#[derive(Clone, Debug)]
pub(crate) struct ClientCertificate {
    common_name: Option<Arc<CommonName>>,
}

impl ClientCertificate {
    /// What `certificate` says.
    pub(crate) fn new(certificate: &CertificateDer<'_>) -> Self {
        Self {
            common_name: CommonName::of(certificate).map(Arc::new),
        }
    }

    /// The user's name, if the certificate has one.
    #[must_use]
    pub(crate) fn common_name(&self) -> Option<&CommonName> {
        self.common_name.as_deref()
    }
}
