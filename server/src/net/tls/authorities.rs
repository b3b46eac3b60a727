//! Who is trusted to vouch for others.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use rustls::RootCertStore;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::error::TlsError;
use super::files::Contents;
use super::key_pair;
use super::pinned::Pinned;

/// Trusted authorities and their names.
pub(super) struct Authorities {
    pub(super) roots: Arc<RootCertStore>,
    /// Their subjects, in DER.
    pub(super) names: HashSet<Vec<u8>>,
    /// They themselves, as long as they are valid.
    pub(super) pinned: Pinned,
}

impl Authorities {
    /// Those in a file, or those that the system trusts.
    pub(super) fn load(file: Option<&Path>, contents: &Contents) -> Result<Self, TlsError> {
        match file {
            Some(path) => Self::of_file(path, contents.of(path)),
            None => Self::of_system(),
        }
    }

    /// Authorities that have expired are left out, which keeps a bundle in use through a rotation.
    fn of_file(path: &Path, pem: &[u8]) -> Result<Self, TlsError> {
        let now = SystemTime::now();
        let mut roots = RootCertStore::empty();
        let mut names = HashSet::new();
        let mut pinned = Pinned::default();
        for certificate in key_pair::certificates(path, pem)? {
            let malformed = |reason: String| TlsError::Malformed {
                path: path.to_owned(),
                reason,
            };
            let (_, parsed) = X509Certificate::from_der(&certificate)
                .map_err(|error| malformed(error.to_string()))?;
            names.insert(parsed.subject().as_raw().to_vec());
            if key_pair::validity(&certificate).is_some_and(|(_, end)| end < now) {
                tracing::warn!(
                    path = %path.display(),
                    subject = %parsed.subject(),
                    "this authority has expired; what it signed is refused. Take it out of the file"
                );
                continue;
            }
            pinned.insert(&certificate);
            roots
                .add(certificate.clone())
                .map_err(|error| malformed(error.to_string()))?;
        }
        if roots.is_empty() {
            return Err(TlsError::ExpiredAuthorities {
                path: path.to_owned(),
            });
        }
        Ok(Self {
            roots: Arc::new(roots),
            names,
            pinned,
        })
    }

    fn of_system() -> Result<Self, TlsError> {
        let found = rustls_native_certs::load_native_certs();
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(found.certs);
        if roots.is_empty() {
            let reasons: Vec<_> = found.errors.iter().map(ToString::to_string).collect();
            return Err(TlsError::NoSystemAuthorities {
                reason: reasons.join("; "),
            });
        }
        Ok(Self {
            roots: Arc::new(roots),
            names: HashSet::new(),
            pinned: Pinned::default(),
        })
    }
}
