//! Certificates that are no good any more, although an authority vouches for them.

use std::collections::HashSet;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer};
use x509_parser::prelude::{CertificateRevocationList, FromDer, X509Certificate};

use super::error::TlsError;

/// What revocation lists say.
///
/// A number counts for the certificates of the authority that wrote the list. If that one is not among
/// the trusted ones, it counts for everybody's certificates, as numbers do in etcd: a revoked client is
/// rather refused twice than let in. As in etcd the file itself is trusted: signatures of lists are not
/// checked, and a list stays in force after its end.
#[derive(Default)]
pub(super) struct Revocations {
    lists: Vec<List>,
}

struct List {
    issuer: Vec<u8>,
    is_for_all: bool,
    serials: HashSet<Vec<u8>>,
}

impl Revocations {
    /// Reads one list in DER, or any number of them in PEM.
    pub(super) fn parse(
        path: &Path,
        bytes: &[u8],
        authorities: &HashSet<Vec<u8>>,
    ) -> Result<Self, TlsError> {
        let malformed = |reason: String| TlsError::Malformed {
            path: path.to_owned(),
            reason,
        };
        let in_pem: Result<Vec<_>, _> =
            CertificateRevocationListDer::pem_slice_iter(bytes).collect();
        let mut encoded = in_pem.map_err(|error| malformed(error.to_string()))?;
        if encoded.is_empty() {
            encoded.push(CertificateRevocationListDer::from(bytes.to_vec()));
        }
        let lists = encoded.iter().map(|encoded| {
            let (_, list) = CertificateRevocationList::from_der(encoded)
                .map_err(|_| malformed("no revocation list".to_owned()))?;
            tell_of_its_end(path, &list);
            let issuer = list.issuer().as_raw().to_vec();
            let revoked = list.iter_revoked_certificates();
            Ok(List {
                is_for_all: !authorities.contains(&issuer),
                issuer,
                serials: revoked.map(|it| number(it.raw_serial())).collect(),
            })
        });
        lists.collect::<Result<_, _>>().map(|lists| Self { lists })
    }

    /// Whether a certificate is revoked. One that cannot be read is.
    pub(super) fn contains(&self, certificate: &CertificateDer<'_>) -> bool {
        if self.lists.is_empty() {
            return false;
        }
        let Ok((_, certificate)) = X509Certificate::from_der(certificate) else {
            return true;
        };
        let serial = number(certificate.raw_serial());
        let issuer = certificate.issuer().as_raw();
        self.lists.iter().any(|list| {
            (list.is_for_all || list.issuer == issuer) && list.serials.contains(&serial)
        })
    }
}

/// A serial number without leading zeros, which encoders do not agree on.
fn number(serial: &[u8]) -> Vec<u8> {
    let zeros = serial.iter().take_while(|byte| **byte == 0).count();
    serial.get(zeros..).unwrap_or_default().to_vec()
}

fn tell_of_its_end(path: &Path, list: &CertificateRevocationList<'_>) {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let end = list.next_update().map(|end| end.timestamp());
    if end.is_some_and(|end| u64::try_from(end).unwrap_or_default() < now.as_secs()) {
        tracing::warn!(
            path = %path.display(),
            "this revocation list is out of date and stays in force; fetch a new one, no restart is \
             needed"
        );
    }
}
