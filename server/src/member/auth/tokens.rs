//! Tokens: what a login is answered with, and what a call is let in by.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use cairn_auth::{AuthError, AuthInfo, AuthStore, SimpleToken, SimpleTokens, TokenChange};
use cairn_consensus::LogIndex;
use parking_lot::RwLock;
use rand::TryRng;
use rand::rngs::SysRng;

use super::jwt::{Jwt, JwtKeyError};
use super::passwords::CredentialError;
use crate::member::Progress;
use crate::settings::TokenSettings;

/// Letters of a simple token, as many as etcd's have.
const LETTERS: usize = 16;
const ALPHABET: &[u8; 52] = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";

/// The tokens that a member hands out and accepts.
pub(crate) enum Tokens {
    /// Letters that every member remembers for a while.
    Simple(Remembered),
    /// Claims with a signature.
    Jwt(Box<Jwt>),
}

/// Simple tokens, by this member's clock.
pub(crate) struct Remembered {
    begun: Instant,
    tokens: RwLock<SimpleTokens>,
}

impl Tokens {
    /// The kind of tokens that the settings ask for.
    ///
    /// # Errors
    ///
    /// [`JwtKeyError`] if keys cannot be read.
    pub(crate) fn new(settings: &TokenSettings) -> Result<Self, JwtKeyError> {
        Ok(match settings {
            TokenSettings::Simple { ttl } => Self::Simple(Remembered {
                begun: Instant::now(),
                tokens: RwLock::new(SimpleTokens::new(*ttl)),
            }),
            TokenSettings::Jwt(settings) => Self::Jwt(Box::new(Jwt::load(settings)?)),
        })
    }

    /// The letters of a simple token that is about to be assigned; none if tokens are signed.
    ///
    /// # Errors
    ///
    /// If the system has no randomness.
    pub(crate) fn draw_letters(&self) -> Result<String, CredentialError> {
        match self {
            Self::Simple(_) => {
                draw_letters().map_err(|error| CredentialError::Failed(error.to_string()))
            }
            Self::Jwt(_) => Ok(String::new()),
        }
    }

    /// The token for a user who has logged in; `assigned` is what the login assigned.
    ///
    /// # Errors
    ///
    /// [`CredentialError`] if it cannot be signed.
    pub(crate) fn issue(
        &self,
        info: &AuthInfo,
        assigned: Option<&SimpleToken>,
    ) -> Result<String, CredentialError> {
        match self {
            Self::Simple(_) => Ok(assigned.map_or_else(String::new, |it| it.as_str().to_owned())),
            Self::Jwt(jwt) => jwt.sign(info),
        }
    }

    /// Whose a token is.
    pub(super) async fn resolve(
        &self,
        token: &str,
        auth_store: &ArcSwap<AuthStore>,
        progress: &Progress,
        patience: Duration,
    ) -> Result<AuthInfo, AuthError> {
        match self {
            Self::Simple(simple) => simple.resolve(token, auth_store, progress, patience).await,
            Self::Jwt(jwt) => jwt.verify(token),
        }
    }

    pub(super) fn change(&self, changes: Vec<TokenChange>) {
        match self {
            Self::Simple(simple) if !changes.is_empty() => simple.change(changes),
            Self::Simple(_) | Self::Jwt(_) => {}
        }
    }
}

impl Remembered {
    /// Whose a token is.
    async fn resolve(
        &self,
        token: &str,
        auth_store: &ArcSwap<AuthStore>,
        progress: &Progress,
        patience: Duration,
    ) -> Result<AuthInfo, AuthError> {
        let index = SimpleToken::index_of(token).ok_or(AuthError::InvalidAuthToken)?;
        let mut username = self.username(token);
        let index = LogIndex::new(index);
        if username.is_none() && progress.applied() < index {
            let applied = progress.wait_applied(index);
            if tokio::time::timeout(patience, applied).await.is_ok() {
                username = self.username(token);
            }
        }
        let revision = auth_store.load().revision();
        username
            .and_then(|username| AuthInfo::new(username, revision))
            .ok_or(AuthError::InvalidAuthToken)
    }

    fn change(&self, changes: Vec<TokenChange>) {
        let now = self.now();
        let mut tokens = self.tokens.write();
        for change in changes {
            tokens.change(change, now);
        }
    }

    fn username(&self, token: &str) -> Option<Arc<str>> {
        self.tokens.read().resolve(token, self.now())
    }

    fn now(&self) -> Duration {
        self.begun.elapsed()
    }
}

/// The letters of a token.
fn draw_letters() -> std::io::Result<String> {
    /// The largest multiple of the alphabet's length that a byte can be below: what is above
    /// would favour the first letters.
    const FAIR: u8 = 208;

    let mut letters = String::with_capacity(LETTERS);
    while letters.len() < LETTERS {
        let mut drawn = [0; 2 * LETTERS];
        SysRng
            .try_fill_bytes(&mut drawn)
            .map_err(std::io::Error::other)?;
        let fair = drawn.iter().filter(|byte| **byte < FAIR);
        let chosen = fair.filter_map(|byte| ALPHABET.get(usize::from(byte % 52)));
        let missing = LETTERS - letters.len();
        letters.extend(chosen.take(missing).map(|letter| char::from(*letter)));
    }
    Ok(letters)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_are_etcds_and_never_the_same() {
        let drawn = draw_letters().unwrap();
        assert_eq!(drawn.len(), LETTERS);
        assert!(drawn.bytes().all(|letter| letter.is_ascii_alphabetic()));
        assert_ne!(drawn, draw_letters().unwrap());
    }
}
