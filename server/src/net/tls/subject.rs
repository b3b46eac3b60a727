//! Where a certificate says that its owner is.

use std::net::IpAddr;

use rustls::pki_types::CertificateDer;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

/// The addresses and host names of a certificate.
pub(super) fn addresses_and_names(certificate: &CertificateDer<'_>) -> (Vec<IpAddr>, Vec<String>) {
    let (mut addresses, mut names) = (Vec::new(), Vec::new());
    let Ok((_, parsed)) = X509Certificate::from_der(certificate) else {
        return (addresses, names);
    };
    let Ok(Some(alternatives)) = parsed.subject_alternative_name() else {
        return (addresses, names);
    };
    for name in &alternatives.value.general_names {
        match name {
            GeneralName::DNSName(name) => names.push((*name).to_owned()),
            GeneralName::IPAddress(bytes) => {
                let v4 = <[u8; 4]>::try_from(*bytes).map(IpAddr::from);
                let v6 = || <[u8; 16]>::try_from(*bytes).map(IpAddr::from);
                addresses.extend(v4.or_else(|_| v6()).ok());
            }
            _ => {}
        }
    }
    (addresses, names)
}
