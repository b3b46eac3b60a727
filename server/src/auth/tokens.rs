//! Tokens: what a login is answered with, and what a call is let in by.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use cairn_auth::{AuthError, AuthInfo, AuthStore, SimpleToken, SimpleTokens, TokenChange};
use cairn_consensus::LogIndex;
use parking_lot::RwLock;
use rand::TryRng;
use rand::rngs::SysRng;

use crate::member::Progress;

/// Letters of a simple token, as many as etcd's have.
const LETTERS: usize = 16;
const ALPHABET: &[u8; 52] = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";

/// The tokens that a member hands out and accepts.
pub struct Tokens {
    begun: Instant,
    simple: RwLock<SimpleTokens>,
}

impl Tokens {
    /// Simple tokens, each of which lasts for `ttl` after its last use.
    pub fn simple(ttl: Duration) -> Self {
        Self {
            begun: Instant::now(),
            simple: RwLock::new(SimpleTokens::new(ttl)),
        }
    }

    /// The letters of a token that is about to be assigned.
    ///
    /// # Errors
    ///
    /// If the system has no randomness.
    pub fn draw_letters(&self) -> std::io::Result<String> {
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

    /// Whose a token is.
    pub(super) async fn resolve(
        &self,
        token: &str,
        rules: &ArcSwap<AuthStore>,
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
        let revision = rules.load().revision();
        username
            .and_then(|username| AuthInfo::new(username, revision))
            .ok_or(AuthError::InvalidAuthToken)
    }

    pub(super) fn change(&self, changes: Vec<TokenChange>) {
        if changes.is_empty() {
            return;
        }
        let now = self.now();
        let mut simple = self.simple.write();
        for change in changes {
            simple.change(change, now);
        }
    }

    fn username(&self, token: &str) -> Option<Arc<str>> {
        self.simple.read().resolve(token, self.now())
    }

    fn now(&self) -> Duration {
        self.begun.elapsed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_are_etcds_and_never_the_same() {
        let tokens = Tokens::simple(Duration::from_secs(300));
        let drawn = tokens.draw_letters().unwrap();
        assert_eq!(drawn.len(), LETTERS);
        assert!(drawn.bytes().all(|letter| letter.is_ascii_alphabetic()));
        assert_ne!(drawn, tokens.draw_letters().unwrap());
    }
}
