//! Certificates that are trusted themselves: one self-signed certificate that is a member's own and
//! everybody's authority at once, as `openssl req -x509` makes it. Go takes it at once; webpki takes
//! no authority for a member or a client.

use std::collections::HashSet;

use rustls::pki_types::{CertificateDer, UnixTime};
use x509_parser::prelude::{FromDer, X509Certificate};

/// What a certificate is shown for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    Client,
    Server,
}

/// The certificates of a file of authorities, in DER.
#[derive(Clone, Default)]
pub(super) struct Pinned(HashSet<Vec<u8>>);

impl Pinned {
    pub(super) fn insert(&mut self, certificate: &CertificateDer<'_>) {
        self.0.insert(certificate.to_vec());
    }

    /// Whether `own` is one of them, valid now and made for this purpose, or for none in particular.
    pub(super) fn vouches(
        &self,
        own: &CertificateDer<'_>,
        now: UnixTime,
        purpose: Purpose,
    ) -> bool {
        self.0.contains(own.as_ref()) && is_good(own, now, purpose).unwrap_or(false)
    }
}

fn is_good(own: &CertificateDer<'_>, now: UnixTime, purpose: Purpose) -> Option<bool> {
    let (_, parsed) = X509Certificate::from_der(own).ok()?;
    let validity = parsed.validity();
    let now = i64::try_from(now.as_secs()).ok()?;
    let is_valid =
        (validity.not_before.timestamp()..=validity.not_after.timestamp()).contains(&now);
    let is_meant = match parsed.extended_key_usage().ok()? {
        None => true,
        Some(usage) => {
            usage.value.any
                || match purpose {
                    Purpose::Client => usage.value.client_auth,
                    Purpose::Server => usage.value.server_auth,
                }
        }
    };
    Some(is_valid && is_meant)
}
