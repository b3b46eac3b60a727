//! Versions and cipher suites, as rustls wants them.

use std::sync::Arc;

use rustls::crypto::{CryptoProvider, ring};
use rustls::version::{TLS12, TLS13};
use rustls::{SupportedCipherSuite, SupportedProtocolVersion};

use crate::settings::{TlsProtocol, TlsVersions};

/// ring's algorithms, with the suites that are allowed.
///
/// As in etcd, the suites of TLS 1.3 are all spoken unless some of them are named.
pub(super) fn provider(protocol: &TlsProtocol) -> Arc<CryptoProvider> {
    let mut provider = ring::default_provider();
    let is_tls13 = |suite: &SupportedCipherSuite| suite.version() == &TLS13;
    let is_named = |suite: &SupportedCipherSuite| protocol.suites.contains(&suite.suite());
    let names_tls13 = provider
        .cipher_suites
        .iter()
        .any(|suite| is_tls13(suite) && is_named(suite));
    if !protocol.suites.is_empty() {
        provider
            .cipher_suites
            .retain(|suite| is_named(suite) || (is_tls13(suite) && !names_tls13));
    }
    Arc::new(provider)
}

/// The versions that are spoken; those without a suite are left out.
pub(super) fn versions(
    protocol: &TlsProtocol,
    provider: &CryptoProvider,
) -> Vec<&'static SupportedProtocolVersion> {
    let wanted: &[_] = match protocol.versions {
        TlsVersions::Tls12 => &[&TLS12],
        TlsVersions::Tls13 => &[&TLS13],
        TlsVersions::Both => &[&TLS12, &TLS13],
    };
    let has_suite = |version: &&SupportedProtocolVersion| {
        provider
            .cipher_suites
            .iter()
            .any(|suite| suite.version() == *version)
    };
    wanted.iter().copied().filter(has_suite).collect()
}

#[cfg(test)]
mod tests {
    use rustls::CipherSuite;

    use super::*;

    #[test]
    fn suites_of_tls_1_3_are_spoken_unless_one_of_them_is_named() {
        let old = CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256;
        let new = CipherSuite::TLS13_AES_256_GCM_SHA384;
        for (named, total, spoken) in [
            (vec![], 9, vec![&TLS12, &TLS13]),
            (vec![old], 4, vec![&TLS12, &TLS13]),
            (vec![old, new], 2, vec![&TLS12, &TLS13]),
            (vec![new], 1, vec![&TLS13]),
        ] {
            let protocol = TlsProtocol {
                versions: TlsVersions::Both,
                suites: named,
            };
            let provider = provider(&protocol);
            assert_eq!(provider.cipher_suites.len(), total);
            assert_eq!(versions(&protocol, &provider), spoken);
        }
    }
}
