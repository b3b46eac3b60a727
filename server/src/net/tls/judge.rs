//! What a certificate must be beside well signed: not revoked, and one of those that are allowed.

use std::sync::Arc;

use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{CertificateError, Error, OtherError};
use webpki::EndEntityCert;

use super::revocation::Revocations;
use crate::member::auth::CommonName;
use crate::settings::AllowedSubjects;

/// Judges certificates whose signatures are fine.
pub(super) struct Judge {
    pub(super) allowed: AllowedSubjects,
    pub(super) revocations: Revocations,
}

/// The subject is none of those that are allowed. The text is etcd's.
#[derive(Debug, thiserror::Error)]
#[error("client certificate authentication failed")]
struct NotAllowed;

impl Judge {
    /// # Errors
    ///
    /// rustls's, which becomes an alert and a line in the log.
    pub(super) fn judge(
        &self,
        own: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
    ) -> Result<(), Error> {
        let mut all = std::iter::once(own).chain(chain);
        if all.any(|certificate| self.revocations.contains(certificate)) {
            return Err(CertificateError::Revoked.into());
        }
        if self.allows(own) {
            Ok(())
        } else {
            Err(CertificateError::Other(OtherError(Arc::new(NotAllowed))).into())
        }
    }

    fn allows(&self, own: &CertificateDer<'_>) -> bool {
        match &self.allowed {
            AllowedSubjects::Any => true,
            AllowedSubjects::CommonNames(names) => CommonName::of(own)
                .is_some_and(|found| names.iter().any(|name| name == found.as_str())),
            AllowedSubjects::Hostnames(names) => names.iter().any(|name| {
                ServerName::try_from(name.as_str()).is_ok_and(|name| is_for(own, &name))
            }),
        }
    }
}

/// Whether a certificate is for this host name or address.
pub(super) fn is_for(certificate: &CertificateDer<'_>, host: &ServerName<'_>) -> bool {
    EndEntityCert::try_from(certificate)
        .is_ok_and(|parsed| parsed.verify_is_valid_for_subject_name(host).is_ok())
}
