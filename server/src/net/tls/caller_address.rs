//! Whether a member calls from where its certificate says that it is.
//!
//! As in etcd, a certificate without addresses and names may come from anywhere; an address in it
//! counts by itself; a name counts if it leads to the address, or the address to it. Names with a
//! wildcard can only be found the latter way.

use std::net::IpAddr;

use rustls::pki_types::CertificateDer;

use super::subject::addresses_and_names;

/// A certificate that is not for the address it came from.
#[derive(Debug, thiserror::Error)]
#[error(
    "tls: {remote} is none of the addresses {addresses:?} of the certificate and does not match any of DNSNames {names:?}"
)]
pub(crate) struct WrongAddress {
    remote: IpAddr,
    addresses: Vec<IpAddr>,
    names: Vec<String>,
}

/// Asks the resolver if need be.
pub(super) async fn check(
    certificate: &CertificateDer<'_>,
    remote: IpAddr,
) -> Result<(), WrongAddress> {
    let remote = remote.to_canonical();
    let (addresses, names) = addresses_and_names(certificate);
    let is_anywhere = addresses.is_empty() && names.is_empty();
    if is_anywhere || addresses.contains(&remote) {
        return Ok(());
    }
    let is_named =
        !names.is_empty() && (leads_back(remote, &names).await || lead_to(&names, remote).await);
    if is_named {
        return Ok(());
    }
    Err(WrongAddress {
        remote,
        addresses,
        names,
    })
}

/// Whether the name of `remote` is one of `names`.
async fn leads_back(remote: IpAddr, names: &[String]) -> bool {
    let found = tokio::task::spawn_blocking(move || dns_lookup::lookup_addr(&remote)).await;
    let Ok(Ok(found)) = found else {
        return false;
    };
    let found = found.trim_end_matches('.');
    names.iter().any(|name| match name.strip_prefix('*') {
        Some(suffix) if suffix.starts_with('.') => found.ends_with(suffix),
        _ => found == name,
    })
}

/// Whether one of `names` leads to `remote`.
async fn lead_to(names: &[String], remote: IpAddr) -> bool {
    for name in names.iter().filter(|name| !name.starts_with("*.")) {
        if let Ok(mut found) = tokio::net::lookup_host((name.as_str(), 0)).await
            && found.any(|it| it.ip().to_canonical() == remote)
        {
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair};

    use super::*;

    async fn is_fine(names: &[&str], remote: &str) -> bool {
        let names: Vec<_> = names.iter().map(|&name| name.to_owned()).collect();
        let params = CertificateParams::new(names).unwrap();
        let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        check(certificate.der(), remote.parse().unwrap())
            .await
            .is_ok()
    }

    #[tokio::test]
    async fn a_member_calls_from_what_its_certificate_names() {
        for (names, remote, fine) in [
            (&[][..], "192.0.2.1", true),
            (&["192.0.2.1"], "192.0.2.1", true),
            (&["192.0.2.1"], "::ffff:192.0.2.1", true),
            (&["192.0.2.1"], "192.0.2.2", false),
            (&["::1"], "::1", true),
            (&["192.0.2.2", "localhost"], "127.0.0.1", true),
            (&["localhost"], "192.0.2.1", false),
        ] {
            assert_eq!(
                is_fine(names, remote).await,
                fine,
                "{names:?} from {remote}"
            );
        }
    }
}
