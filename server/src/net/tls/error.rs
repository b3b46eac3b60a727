//! Why a certificate, key, authority or list cannot be used. The texts are for operators.

use std::path::PathBuf;

/// What is wrong with the files of TLS, and what to do about it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TlsError {
    /// A file that cannot be read.
    #[error(
        "cannot read {}: {source}. Make it readable for the user that runs the server, or name another file",
        path.display()
    )]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file without what it should hold.
    #[error("{} holds no {what} in PEM; {advice}", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
        /// What it should hold.
        what: &'static str,
        /// What to do.
        advice: &'static str,
    },
    /// A file that is damaged.
    #[error("{} cannot be understood: {reason}. Write it anew, in PEM", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Certificate and key of different pairs.
    #[error(
        "the key {} does not belong to the first certificate in {}; name the two files of one pair, the server's own certificate first",
        key.display(),
        certificate.display()
    )]
    Mismatched {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's.
        key: PathBuf,
    },
    /// A key of a kind that is not known.
    #[error(
        "the key {} cannot be used: {reason}. RSA keys of 2048 to 8192 bits, ECDSA keys on P-256 or P-384 and Ed25519 keys can be",
        path.display()
    )]
    Key {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// Authorities of which none is valid.
    #[error(
        "no authority in {} is valid today; add the one that signed the certificates that are in use",
        path.display()
    )]
    ExpiredAuthorities {
        /// The file.
        path: PathBuf,
    },
    /// No authority that the system trusts.
    #[error("the system trusts no authority; name a file with the authorities instead: {reason}")]
    NoSystemAuthorities {
        /// What the search met.
        reason: String,
    },
    /// A certificate that could not be made or kept.
    #[error("cannot keep a generated certificate in {}: {reason}", directory.display())]
    Generate {
        /// The directory.
        directory: PathBuf,
        /// Why.
        reason: String,
    },
    /// Versions and suites that leave nothing.
    #[error(
        "no TLS version is left: {reason}. Check --cipher-suites, --tls-min-version and --tls-max-version"
    )]
    Protocol {
        /// rustls's reason.
        reason: String,
    },
}
