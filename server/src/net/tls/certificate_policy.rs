//! What a certificate must be beside well signed: not revoked, and one of those that are allowed.

use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{CertificateError, Error};
use webpki::EndEntityCert;

use super::revocation::Revocations;
use super::subject::addresses_and_names;
use crate::member::auth::CommonName;
use crate::settings::AllowedSubjects;

/// The policy for certificates whose signatures are fine.
pub(super) struct CertificatePolicy {
    pub(super) allowed: AllowedSubjects,
    pub(super) revocations: Revocations,
}

/// The subject is none of those that are allowed. The text begins with etcd's.
#[derive(Debug, thiserror::Error)]
#[error("{NOT_ALLOWED}: bad certificate: it is for {found}, and {allowed} is expected")]
struct NotAllowed {
    found: String,
    allowed: String,
}

const NOT_ALLOWED: &str = "client certificate authentication failed";

impl NotAllowed {
    /// rustls's error: of this one alone it tells the other side what Go's TLS would tell it, that the
    /// certificate is bad.
    fn into_rustls(self) -> Error {
        let unnamed = ServerName::IpAddress(std::net::Ipv4Addr::UNSPECIFIED.into());
        Error::InvalidCertificate(CertificateError::NotValidForNameContext {
            expected: unnamed,
            presented: vec![self.to_string()],
        })
    }
}

/// What the policy has said, if that is why a handshake failed.
pub(super) fn refusal(error: &Error) -> Option<&str> {
    match error {
        Error::InvalidCertificate(CertificateError::NotValidForNameContext {
            presented, ..
        }) => {
            let text = presented.first()?;
            text.starts_with(NOT_ALLOWED).then_some(text)
        }
        _ => None,
    }
}

impl CertificatePolicy {
    /// # Errors
    ///
    /// rustls's, which becomes an alert and a line in the log.
    pub(super) fn check(
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
            Err(self.not_allowed(own).into_rustls())
        }
    }

    fn not_allowed(&self, own: &CertificateDer<'_>) -> NotAllowed {
        let quoted = |names: &[String]| {
            let names: Vec<_> = names.iter().map(|name| format!("{name:?}")).collect();
            names.join(" or ")
        };
        let common_name = CommonName::of(own);
        let common_name = common_name.as_ref().map_or("", CommonName::as_str);
        let found = format!("the common name {common_name:?}");
        match &self.allowed {
            AllowedSubjects::Any => NotAllowed {
                found,
                allowed: "any".to_owned(),
            },
            AllowedSubjects::CommonNames(names) => NotAllowed {
                found,
                allowed: quoted(names),
            },
            AllowedSubjects::Hostnames(names) => {
                let (addresses, hosts) = addresses_and_names(own);
                let addresses = addresses.iter().map(ToString::to_string);
                let all: Vec<_> = hosts.into_iter().chain(addresses).collect();
                NotAllowed {
                    found: format!("{found} and the hosts [{}]", all.join(", ")),
                    allowed: format!("the host {}", quoted(names)),
                }
            }
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
