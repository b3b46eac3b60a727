//! A certificate with its chain and its key, as read from PEM.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use rustls::{Error, InconsistentKeys};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::error::TlsError;
use super::files::Contents;
use crate::settings::KeyPairFiles;

/// A certificate that lasts less than this is worth a line in the log.
const NEAR_END: Duration = Duration::from_secs(30 * 24 * 3600);

/// What can be shown to others. One that has expired can be, as in etcd: it is logged, and whoever
/// does not look at it is served until it is replaced.
pub(super) fn load(
    files: &KeyPairFiles,
    contents: &Contents,
    provider: &CryptoProvider,
) -> Result<Arc<CertifiedKey>, TlsError> {
    let chain = certificates(&files.certificate, contents.of(&files.certificate))?;
    let key =
        PrivateKeyDer::from_pem_slice(contents.of(&files.key)).map_err(|_| TlsError::Empty {
            path: files.key.clone(),
            what: "private key",
            advice: "a key that is encrypted must be decrypted first",
        })?;
    let unusable = |reason: Error| TlsError::Key {
        path: files.key.clone(),
        reason: reason.to_string(),
    };
    let key = provider
        .key_provider
        .load_private_key(key)
        .map_err(unusable)?;
    let pair = CertifiedKey::new(chain, key);
    match pair.keys_match() {
        // Some keys do not tell their public half; a handshake will show.
        Ok(()) | Err(Error::InconsistentKeys(InconsistentKeys::Unknown)) => {}
        Err(Error::InconsistentKeys(_)) => {
            return Err(TlsError::Mismatched {
                certificate: files.certificate.clone(),
                key: files.key.clone(),
            });
        }
        Err(error) => {
            return Err(TlsError::Malformed {
                path: files.certificate.clone(),
                reason: error.to_string(),
            });
        }
    }
    if let Some(own) = pair.cert.first() {
        tell_of_its_end(&files.certificate, own);
    }
    Ok(Arc::new(pair))
}

/// All certificates in a file, at least one.
pub(super) fn certificates(
    path: &Path,
    pem: &[u8],
) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let found = found.map_err(|error| TlsError::Malformed {
        path: path.to_owned(),
        reason: error.to_string(),
    })?;
    if found.is_empty() {
        return Err(TlsError::Empty {
            path: path.to_owned(),
            what: "certificate",
            advice: "one begins with -----BEGIN CERTIFICATE-----",
        });
    }
    Ok(found)
}

/// When a certificate begins and ends; none if it cannot be read.
pub(super) fn validity(certificate: &CertificateDer<'_>) -> Option<(SystemTime, SystemTime)> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    let time = |seconds: i64| {
        // Before 1970 is as good as 1970.
        UNIX_EPOCH + Duration::from_secs(u64::try_from(seconds).unwrap_or_default())
    };
    let validity = parsed.validity();
    Some((
        time(validity.not_before.timestamp()),
        time(validity.not_after.timestamp()),
    ))
}

fn tell_of_its_end(path: &Path, certificate: &CertificateDer<'_>) {
    let Some((begin, end)) = validity(certificate) else {
        return;
    };
    let now = SystemTime::now();
    let path = path.display();
    if now < begin {
        tracing::warn!(%path, "this certificate is not valid yet; check the clock, or replace it");
    } else if now > end {
        tracing::warn!(
            %path,
            "this certificate has expired and will be refused by whoever checks it; replace the \
             file, no restart is needed"
        );
    } else if let Ok(left) = end.duration_since(now)
        && left < NEAR_END
    {
        let days = left.as_secs() / (24 * 3600);
        tracing::warn!(
            %path,
            days,
            "this certificate expires soon; replace the file, no restart is needed"
        );
    }
}
