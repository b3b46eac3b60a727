//! Alerts, and bytes that are no TLS, in the words of Go's TLS, which etcd's log has and operators look for.

/// What rustls says before the name of an alert that came.
const RECEIVED: &str = "received fatal alert: ";

/// Alerts by rustls's name and by Go's.
const ALERTS: [(&str, &str); 14] = [
    ("BadCertificate", "bad certificate"),
    ("UnsupportedCertificate", "unsupported certificate"),
    ("CertificateRevoked", "revoked certificate"),
    ("CertificateExpired", "expired certificate"),
    ("CertificateUnknown", "unknown certificate"),
    ("CertificateRequired", "certificate required"),
    ("UnknownCA", "unknown certificate authority"),
    ("AccessDenied", "access denied"),
    ("HandshakeFailure", "handshake failure"),
    ("ProtocolVersion", "protocol version not supported"),
    ("InsufficientSecurity", "insufficient security level"),
    ("DecryptError", "error decrypting message"),
    ("InternalError", "internal error"),
    ("NoApplicationProtocol", "no application protocol"),
];

/// What rustls says of bytes that are no TLS.
const NO_TLS: &str = "received corrupt message of type InvalidContentType";

/// `text` with the alert in it as Go names it: `remote error: tls: bad certificate`. Connections pass
/// errors on as text, so text is looked at.
pub(crate) fn in_etcds_words(text: &str) -> String {
    if text.contains(NO_TLS) {
        let words = "tls: first record does not look like a TLS handshake; is it a client of http, not https?";
        return text.replace(NO_TLS, words);
    }
    let Some((before, rest)) = text.split_once(RECEIVED) else {
        return text.to_owned();
    };
    let end = rest
        .find(|letter: char| !letter.is_ascii_alphanumeric())
        .unwrap_or(rest.len());
    let (name, after) = rest.split_at(end);
    let known = ALERTS.iter().find(|(ours, _)| *ours == name);
    let words = known.map_or(name, |(_, words)| words);
    format!("{before}remote error: tls: {words}{after}")
}

/// Whether `text`, in etcd's words, says that the other side has refused this one's certificate.
pub(crate) fn refuses_certificate(text: &str) -> bool {
    text.contains("remote error: tls:") && text.contains("certificate")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alerts_have_gos_names() {
        for (text, expected) in [
            (
                "http2 error: received fatal alert: BadCertificate",
                "http2 error: remote error: tls: bad certificate",
            ),
            (
                "received fatal alert: UnknownCA (x)",
                "remote error: tls: unknown certificate authority (x)",
            ),
            ("received fatal alert: NewOne", "remote error: tls: NewOne"),
            ("connection refused", "connection refused"),
        ] {
            assert_eq!(in_etcds_words(text), expected);
        }
        assert!(refuses_certificate("remote error: tls: bad certificate"));
        assert!(!refuses_certificate("remote error: tls: internal error"));
    }
}
