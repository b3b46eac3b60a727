//! Keys that sign tokens and check their signatures.

use std::path::{Path, PathBuf};

use ring::hmac;
use ring::rand::SystemRandom;
use ring::signature::{
    self, EcdsaKeyPair, EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair, RsaEncoding, RsaKeyPair,
    UnparsedPublicKey, VerificationAlgorithm,
};
use x509_parser::pem::parse_x509_pem;
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::x509::SubjectPublicKeyInfo;

use crate::member::auth::passwords::CredentialError;
use crate::settings::{Algorithm, Digest};

impl Algorithm {
    fn verification(self) -> Option<&'static dyn VerificationAlgorithm> {
        Some(match self {
            Self::Hs(_) => return None,
            Self::Rs(Digest::Sha256) => &signature::RSA_PKCS1_2048_8192_SHA256,
            Self::Rs(Digest::Sha384) => &signature::RSA_PKCS1_2048_8192_SHA384,
            Self::Rs(Digest::Sha512) => &signature::RSA_PKCS1_2048_8192_SHA512,
            Self::Ps(Digest::Sha256) => &signature::RSA_PSS_2048_8192_SHA256,
            Self::Ps(Digest::Sha384) => &signature::RSA_PSS_2048_8192_SHA384,
            Self::Ps(Digest::Sha512) => &signature::RSA_PSS_2048_8192_SHA512,
            Self::Es256 => &signature::ECDSA_P256_SHA256_FIXED,
            Self::Es384 => &signature::ECDSA_P384_SHA384_FIXED,
            Self::EdDsa => &signature::ED25519,
        })
    }
}

/// Keys that cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum JwtKeyError {
    /// No file is named where one is needed.
    #[error("missing key data for {algorithm}")]
    Missing {
        /// The algorithm.
        algorithm: &'static str,
    },
    /// A file cannot be read.
    #[error("reading {}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file holds no such key.
    #[error("no {what} for {algorithm}")]
    Invalid {
        /// What is wanted.
        what: &'static str,
        /// The algorithm.
        algorithm: &'static str,
    },
    /// The two keys are not of one pair.
    #[error("public and private keys don't match")]
    Mismatch,
}

/// Where keys are.
pub(super) struct KeyFiles {
    pub(super) public: Option<PathBuf>,
    pub(super) private: Option<PathBuf>,
}

/// What the files hold.
#[derive(PartialEq, Eq)]
pub(super) struct Contents {
    public: Option<Vec<u8>>,
    private: Option<Vec<u8>>,
}

impl KeyFiles {
    pub(super) fn read(&self) -> Result<Contents, JwtKeyError> {
        let read = |path: &Option<PathBuf>| path.as_deref().map(read).transpose();
        Ok(Contents {
            public: read(&self.public)?,
            private: read(&self.private)?,
        })
    }
}

fn read(path: &Path) -> Result<Vec<u8>, JwtKeyError> {
    std::fs::read(path).map_err(|source| JwtKeyError::Unreadable {
        path: path.to_owned(),
        source,
    })
}

/// The keys of one algorithm.
pub(super) enum Keys {
    Secret(hmac::Key),
    Pair {
        algorithm: &'static dyn VerificationAlgorithm,
        public: Vec<u8>,
        /// None where tokens are only checked.
        private: Option<Private>,
    },
}

pub(super) enum Private {
    Rsa(Box<RsaKeyPair>, &'static dyn RsaEncoding),
    Ecdsa(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

impl Keys {
    pub(super) fn parse(algorithm: Algorithm, contents: &Contents) -> Result<Self, JwtKeyError> {
        let name = algorithm.name();
        let missing = JwtKeyError::Missing { algorithm: name };
        let Some(verification) = algorithm.verification() else {
            let secret = contents.private.as_deref();
            let secret = secret.filter(|secret| !secret.is_empty()).ok_or(missing)?;
            return Ok(Self::Secret(hmac::Key::new(hmac_of(algorithm), secret)));
        };
        let invalid = |what| JwtKeyError::Invalid {
            what,
            algorithm: name,
        };
        let private = contents
            .private
            .as_deref()
            .map(|pem| Private::parse(algorithm, pem).ok_or_else(|| invalid("private key")));
        let private = private.transpose()?;
        let named = contents.public.as_deref();
        let named = named.map(|pem| public_key(pem).ok_or_else(|| invalid("public key")));
        let named = named.transpose()?;
        let own = private.as_ref().map(Private::public);
        let public = match (own, named) {
            (Some(own), Some(named)) if own != named => return Err(JwtKeyError::Mismatch),
            (Some(key), _) | (None, Some(key)) => key,
            (None, None) => return Err(missing),
        };
        Ok(Self::Pair {
            algorithm: verification,
            public,
            private,
        })
    }

    pub(super) fn sign(&self, message: &[u8]) -> Result<Vec<u8>, CredentialError> {
        match self {
            Self::Secret(secret) => Ok(hmac::sign(secret, message).as_ref().to_vec()),
            Self::Pair { private: None, .. } => Err(CredentialError::VerifyOnly),
            Self::Pair {
                private: Some(private),
                ..
            } => private
                .sign(message)
                .map_err(|_| CredentialError::Failed("auth: signing a token failed".to_owned())),
        }
    }

    pub(super) fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        match self {
            Self::Secret(secret) => hmac::verify(secret, message, signature).is_ok(),
            Self::Pair {
                algorithm, public, ..
            } => UnparsedPublicKey::new(*algorithm, public)
                .verify(message, signature)
                .is_ok(),
        }
    }
}

impl Private {
    fn parse(algorithm: Algorithm, pem: &[u8]) -> Option<Self> {
        let (_, pem) = parse_x509_pem(pem).ok()?;
        let (label, der) = (pem.label.as_str(), &pem.contents);
        let rsa = |encoding| {
            let pair = match label {
                "RSA PRIVATE KEY" => RsaKeyPair::from_der(der),
                _ => RsaKeyPair::from_pkcs8(der),
            };
            Some(Self::Rsa(Box::new(pair.ok()?), encoding))
        };
        let ecdsa = |algorithm: &'static EcdsaSigningAlgorithm, curve: &[u8]| {
            let wrapped = match label {
                "EC PRIVATE KEY" => pkcs8_of_sec1(curve, der)?,
                _ => der.clone(),
            };
            let pair = EcdsaKeyPair::from_pkcs8(algorithm, &wrapped, &SystemRandom::new());
            Some(Self::Ecdsa(pair.ok()?))
        };
        match algorithm {
            Algorithm::Hs(_) => None,
            Algorithm::Rs(Digest::Sha256) => rsa(&signature::RSA_PKCS1_SHA256),
            Algorithm::Rs(Digest::Sha384) => rsa(&signature::RSA_PKCS1_SHA384),
            Algorithm::Rs(Digest::Sha512) => rsa(&signature::RSA_PKCS1_SHA512),
            Algorithm::Ps(Digest::Sha256) => rsa(&signature::RSA_PSS_SHA256),
            Algorithm::Ps(Digest::Sha384) => rsa(&signature::RSA_PSS_SHA384),
            Algorithm::Ps(Digest::Sha512) => rsa(&signature::RSA_PSS_SHA512),
            Algorithm::Es256 => ecdsa(&signature::ECDSA_P256_SHA256_FIXED_SIGNING, P256),
            Algorithm::Es384 => ecdsa(&signature::ECDSA_P384_SHA384_FIXED_SIGNING, P384),
            Algorithm::EdDsa => {
                let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der);
                Some(Self::Ed25519(pair.ok()?))
            }
        }
    }

    fn public(&self) -> Vec<u8> {
        match self {
            Self::Rsa(pair, _) => pair.public_key().as_ref().to_vec(),
            Self::Ecdsa(pair) => pair.public_key().as_ref().to_vec(),
            Self::Ed25519(pair) => pair.public_key().as_ref().to_vec(),
        }
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, ring::error::Unspecified> {
        let random = SystemRandom::new();
        Ok(match self {
            Self::Rsa(pair, encoding) => {
                let mut signature = vec![0; pair.public().modulus_len()];
                pair.sign(*encoding, &random, message, &mut signature)?;
                signature
            }
            Self::Ecdsa(pair) => pair.sign(&random, message)?.as_ref().to_vec(),
            Self::Ed25519(pair) => pair.sign(message).as_ref().to_vec(),
        })
    }
}

const fn hmac_of(algorithm: Algorithm) -> hmac::Algorithm {
    match algorithm {
        Algorithm::Hs(Digest::Sha384) => hmac::HMAC_SHA384,
        Algorithm::Hs(Digest::Sha512) => hmac::HMAC_SHA512,
        _ => hmac::HMAC_SHA256,
    }
}

/// The public key in a PEM block, as ring takes it: the content of its bit string. It may come as a
/// certificate, as etcd allows.
fn public_key(pem: &[u8]) -> Option<Vec<u8>> {
    let (_, pem) = parse_x509_pem(pem).ok()?;
    match pem.label.as_str() {
        "RSA PUBLIC KEY" => Some(pem.contents),
        "CERTIFICATE" => {
            let (_, certificate) = X509Certificate::from_der(&pem.contents).ok()?;
            Some(certificate.public_key().subject_public_key.data.to_vec())
        }
        _ => {
            let (_, info) = SubjectPublicKeyInfo::from_der(&pem.contents).ok()?;
            Some(info.subject_public_key.data.to_vec())
        }
    }
}

/// Object identifiers of the curves, encoded: 1.2.840.10045.3.1.7 and 1.3.132.0.34.
const P256: &[u8] = &[0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
const P384: &[u8] = &[0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x22];
/// That of a public key on a curve: 1.2.840.10045.2.1.
const EC_PUBLIC_KEY: &[u8] = &[0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];

/// A private key as `openssl ecparam -genkey` writes it (RFC 5915), in the form that ring takes
/// (RFC 5958).
fn pkcs8_of_sec1(curve: &[u8], sec1: &[u8]) -> Option<Vec<u8>> {
    const SEQUENCE: u8 = 0x30;
    const OCTET_STRING: u8 = 0x04;
    const VERSION: &[u8] = &[0x02, 0x01, 0x00];

    let algorithm = der(SEQUENCE, &[EC_PUBLIC_KEY, curve].concat())?;
    let key = der(OCTET_STRING, sec1)?;
    der(SEQUENCE, &[VERSION, &algorithm, &key].concat())
}

/// A value with its tag and length; none if it is longer than any key.
fn der(tag: u8, content: &[u8]) -> Option<Vec<u8>> {
    let length = u8::try_from(content.len()).ok()?;
    let mut encoded = vec![tag];
    if length >= 0x80 {
        encoded.push(0x81);
    }
    encoded.push(length);
    encoded.extend_from_slice(content);
    Some(encoded)
}
