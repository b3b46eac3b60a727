//! How tokens are signed that carry claims.

use std::path::PathBuf;
use std::time::Duration;

/// What `--auth-token=jwt,…` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct JwtSettings {
    /// How tokens are signed.
    pub algorithm: Algorithm,
    /// The file of the key that checks signatures.
    pub public_key: Option<PathBuf>,
    /// The file of the key that makes them, or of the secret.
    pub private_key: Option<PathBuf>,
    /// How long a token lasts.
    pub ttl: Duration,
}

/// How tokens are signed: the names of RFC 7518 and 8037. ES512 is not among them, which ring does not
/// have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Algorithm {
    /// A secret that both sides have.
    Hs(Digest),
    /// RSA with the padding of PKCS #1 1.5.
    Rs(Digest),
    /// RSA with probabilistic padding.
    Ps(Digest),
    /// ECDSA over P-256.
    Es256,
    /// ECDSA over P-384.
    Es384,
    /// Ed25519.
    EdDsa,
}

/// The hash in a signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Digest {
    /// SHA-256.
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512.
    Sha512,
}

impl Algorithm {
    /// All of them.
    pub(crate) const ALL: [Self; 12] = [
        Self::Hs(Digest::Sha256),
        Self::Hs(Digest::Sha384),
        Self::Hs(Digest::Sha512),
        Self::Rs(Digest::Sha256),
        Self::Rs(Digest::Sha384),
        Self::Rs(Digest::Sha512),
        Self::Ps(Digest::Sha256),
        Self::Ps(Digest::Sha384),
        Self::Ps(Digest::Sha512),
        Self::Es256,
        Self::Es384,
        Self::EdDsa,
    ];

    /// Its name in tokens and in the flag.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Hs(Digest::Sha256) => "HS256",
            Self::Hs(Digest::Sha384) => "HS384",
            Self::Hs(Digest::Sha512) => "HS512",
            Self::Rs(Digest::Sha256) => "RS256",
            Self::Rs(Digest::Sha384) => "RS384",
            Self::Rs(Digest::Sha512) => "RS512",
            Self::Ps(Digest::Sha256) => "PS256",
            Self::Ps(Digest::Sha384) => "PS384",
            Self::Ps(Digest::Sha512) => "PS512",
            Self::Es256 => "ES256",
            Self::Es384 => "ES384",
            Self::EdDsa => "EdDSA",
        }
    }

    /// The algorithm of a name.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.name() == name)
    }
}
