//! Cipher suites by the names that etcd takes, which are Go's.

use rustls::CipherSuite;

use super::error::SettingsError;

/// The suites that there are, TLS 1.3's last.
const SPOKEN: [(&str, CipherSuite); 9] = [
    (
        "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
        CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
    ),
    (
        "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
        CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
    ),
    (
        "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
        CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
    ),
    (
        "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
        CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
    ),
    (
        "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
        CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
    ),
    (
        "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
        CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
    ),
    (
        "TLS_AES_128_GCM_SHA256",
        CipherSuite::TLS13_AES_128_GCM_SHA256,
    ),
    (
        "TLS_AES_256_GCM_SHA384",
        CipherSuite::TLS13_AES_256_GCM_SHA384,
    ),
    (
        "TLS_CHACHA20_POLY1305_SHA256",
        CipherSuite::TLS13_CHACHA20_POLY1305_SHA256,
    ),
];

/// Suites that etcd takes and Cairn does not speak: without forward secrecy, or with CBC, 3DES or RC4.
const UNSPOKEN: [&str; 13] = [
    "TLS_RSA_WITH_RC4_128_SHA",
    "TLS_RSA_WITH_3DES_EDE_CBC_SHA",
    "TLS_RSA_WITH_AES_128_CBC_SHA",
    "TLS_RSA_WITH_AES_256_CBC_SHA",
    "TLS_RSA_WITH_AES_128_CBC_SHA256",
    "TLS_RSA_WITH_AES_128_GCM_SHA256",
    "TLS_RSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_ECDSA_WITH_RC4_128_SHA",
    "TLS_ECDHE_RSA_WITH_RC4_128_SHA",
    "TLS_ECDHE_RSA_WITH_3DES_EDE_CBC_SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA",
];

/// The suite of this name.
pub(super) fn cipher_suite(name: &str) -> Result<CipherSuite, SettingsError> {
    // Go once named two of them without the hash.
    let full = match name {
        "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305" | "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305" => {
            &format!("{name}_SHA256")
        }
        _ => name,
    };
    let found = SPOKEN.iter().find(|(spoken, _)| *spoken == full);
    found.map(|(_, suite)| *suite).ok_or_else(|| {
        let what = if is_weak(name) {
            "is too weak for Cairn, which speaks only suites with forward secrecy and authenticated \
             encryption"
        } else {
            "is unknown"
        };
        let spoken = SPOKEN.map(|(name, _)| name).join(", ");
        SettingsError::unfit(format!(
            "unexpected TLS cipher suite {name:?}: it {what}; take it out of --cipher-suites, or \
             choose among {spoken}"
        ))
    })
}

fn is_weak(name: &str) -> bool {
    UNSPOKEN.contains(&name) || name.contains("_CBC_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suites_have_gos_names_and_two_of_them_an_older_one() {
        for (name, suite) in SPOKEN {
            assert_eq!(cipher_suite(name).unwrap(), suite);
        }
        assert_eq!(
            cipher_suite("TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305").unwrap(),
            CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256
        );
    }

    #[test]
    fn other_suites_are_refused_with_a_list_of_those_that_there_are() {
        for (name, what) in [
            ("TLS_RSA_WITH_AES_128_GCM_SHA256", "too weak"),
            ("TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256", "too weak"),
            ("TLS_ECDHE_RSA_WITH_RC4_128_SHA", "too weak"),
            ("tls_aes_128_gcm_sha256", "unknown"),
            ("", "unknown"),
        ] {
            let text = cipher_suite(name).unwrap_err().to_string();
            assert!(text.contains(what), "{text}");
            assert!(text.contains("TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"));
        }
    }
}
