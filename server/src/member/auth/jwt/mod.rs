//! JSON web tokens (RFC 7519), signed here or elsewhere: `--auth-token=jwt`.
//!
//! A token carries the user's name and the revision of the rules under which it was made; once the
//! rules are others, it is refused, as etcd refuses it. Of the crates that make such tokens, one
//! brings a second cryptographic library in C, the other an RSA with a known timing leak
//! (RUSTSEC-2023-0071). What is left without them is three base64 parts, below; the signatures are
//! ring's, which TLS uses too.

#[cfg(any(test, feature = "fuzzing"))]
mod fuzzed;
mod keys;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cairn_auth::{AuthError, AuthInfo};
use parking_lot::{Mutex, RwLock};
use serde::Deserialize;

use super::passwords::CredentialError;
use crate::settings::{Algorithm, JwtSettings};
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) use fuzzed::token as fuzz_token;
pub(crate) use keys::JwtKeyError;
use keys::{KeyFiles, Keys};

/// Tokens that were checked before and need not be again: a signature costs more than a put.
const VERIFIED_MAX: usize = 4096;
/// How long a change of the key files may go unseen.
const FILES_PATIENCE: Duration = Duration::from_secs(1);
/// The longest token that is looked at, in bytes.
const TOKEN_BYTES_MAX: usize = 8 << 10;

/// Makes and checks tokens. Replaced key files are read anew; if they make no sense, the keys before
/// stay.
pub(crate) struct Jwt {
    algorithm: Algorithm,
    ttl: Duration,
    files: KeyFiles,
    current: ArcSwap<Current>,
    looked: Mutex<Instant>,
}

/// The keys that count now, and what they were found to have signed.
struct Current {
    contents: keys::Contents,
    keys: Keys,
    verified: RwLock<HashMap<Box<str>, Claims>>,
}

/// What a token says, and until when. Claims of a wrong type make it none (etcd's #15676).
#[derive(Clone, Debug, Deserialize)]
struct Claims {
    username: String,
    revision: f64,
    exp: Option<f64>,
    nbf: Option<f64>,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
}

impl Jwt {
    /// Reads the keys.
    ///
    /// # Errors
    ///
    /// [`JwtKeyError`].
    pub(crate) fn load(settings: &JwtSettings) -> Result<Self, JwtKeyError> {
        let files = KeyFiles {
            public: settings.public_key.clone(),
            private: settings.private_key.clone(),
        };
        let contents = files.read()?;
        let current = Current::new(settings.algorithm, contents)?;
        Ok(Self {
            algorithm: settings.algorithm,
            ttl: settings.ttl,
            files,
            current: ArcSwap::from_pointee(current),
            looked: Mutex::new(Instant::now()),
        })
    }

    /// A token for a user who has just logged in.
    ///
    /// # Errors
    ///
    /// [`CredentialError`] if there is only a key to check with, or signing fails.
    pub(crate) fn sign(&self, info: &AuthInfo) -> Result<String, CredentialError> {
        self.reload_if_due();
        let end = now() + self.ttl.as_secs_f64();
        let header = serde_json::json!({ "alg": self.algorithm.name(), "typ": "JWT" });
        #[expect(
            clippy::cast_possible_truncation,
            reason = "whole seconds, as etcd has them"
        )]
        let claims = serde_json::json!({
            "exp": end as i64,
            "revision": info.revision().get(),
            "username": info.username(),
        });
        let part = |value: serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let message = format!("{}.{}", part(header), part(claims));
        let signature = self.current.load().keys.sign(message.as_bytes())?;
        Ok(format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }

    /// Who a token is of.
    ///
    /// # Errors
    ///
    /// [`AuthError::InvalidAuthToken`].
    pub(crate) fn verify(&self, token: &str) -> Result<AuthInfo, AuthError> {
        self.reload_if_due();
        let current = self.current.load();
        let claims = current.claims(token, self.algorithm);
        let claims = claims.ok_or(AuthError::InvalidAuthToken)?;
        let now = now();
        let is_over = claims.exp.is_some_and(|exp| now >= exp);
        let is_early = claims.nbf.is_some_and(|nbf| now < nbf);
        if is_over || is_early || claims.revision < 1.0 {
            return Err(AuthError::InvalidAuthToken);
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "JSON numbers are floating; what is beyond the range is cut to it"
        )]
        let revision = cairn_auth::AuthRevision::from_wire(claims.revision as u64);
        revision
            .and_then(|revision| AuthInfo::new(claims.username.into(), revision))
            .ok_or(AuthError::InvalidAuthToken)
    }

    fn reload_if_due(&self) {
        let Some(mut looked) = self.looked.try_lock() else {
            return;
        };
        if looked.elapsed() < FILES_PATIENCE {
            return;
        }
        *looked = Instant::now();
        drop(looked);
        let read = self.files.read().and_then(|contents| {
            let is_new = contents != self.current.load().contents;
            is_new
                .then(|| Current::new(self.algorithm, contents))
                .transpose()
        });
        match read {
            Ok(None) => {}
            Ok(Some(current)) => {
                self.current.store(Arc::new(current));
                tracing::info!("loaded new keys for tokens");
            }
            Err(error) => tracing::warn!(%error, "keeping the keys for tokens"),
        }
    }
}

impl Current {
    fn new(algorithm: Algorithm, contents: keys::Contents) -> Result<Self, JwtKeyError> {
        let keys = Keys::parse(algorithm, &contents)?;
        Ok(Self {
            contents,
            keys,
            verified: RwLock::default(),
        })
    }

    /// What a token says, if it was signed with the key.
    fn claims(&self, token: &str, algorithm: Algorithm) -> Option<Claims> {
        if token.len() > TOKEN_BYTES_MAX {
            return None;
        }
        if let Some(claims) = self.verified.read().get(token) {
            return Some(claims.clone());
        }
        let (message, signature) = token.rsplit_once('.')?;
        let (header, claims) = message.split_once('.')?;
        let header: Header = decode(header)?;
        if header.alg != algorithm.name() {
            return None;
        }
        let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
        if !self.keys.verify(message.as_bytes(), &signature) {
            return None;
        }
        let claims: Claims = decode(claims)?;
        let mut verified = self.verified.write();
        if verified.len() >= VERIFIED_MAX {
            verified.clear();
        }
        verified.insert(token.into(), claims.clone());
        Some(claims)
    }
}

fn decode<T: serde::de::DeserializeOwned>(part: &str) -> Option<T> {
    let json = URL_SAFE_NO_PAD.decode(part).ok()?;
    serde_json::from_slice(&json).ok()
}

/// Seconds since the epoch.
fn now() -> f64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.unwrap_or_default().as_secs_f64()
}

#[cfg(test)]
mod tests;
