//! Passwords that were checked a moment ago, so that bcrypt need not be asked again.
//!
//! bcrypt is slow by design: at etcd's default cost a core checks some twenty passwords a second,
//! which keeps out clients that log in for each call (etcd's #9615). What is kept of a password is a
//! digest under a secret of the process, together with the hash that it was checked against: once
//! the stored hash changes, the digest no longer matches.

use std::collections::HashMap;
use std::time::Duration;

use sha2::{Digest, Sha256};

/// Passwords that are remembered.
pub const VERIFIED_MAX: usize = 4096;

/// Passwords that were right. Times are since any moment, the same for all calls.
pub struct VerifiedPasswords {
    secret: [u8; 32],
    ttl: Duration,
    /// When each is forgotten.
    verified: HashMap<[u8; 32], Duration>,
}

impl VerifiedPasswords {
    /// None yet; each will be remembered for `ttl`. The secret is random and of this process.
    #[must_use]
    pub fn new(secret: [u8; 32], ttl: Duration) -> Self {
        Self {
            secret,
            ttl,
            verified: HashMap::new(),
        }
    }

    /// Whether this password was right for this user and hash lately.
    #[must_use]
    pub fn contains(&self, username: &str, password: &[u8], hash: &[u8], now: Duration) -> bool {
        let digest = self.digest(username, password, hash);
        self.verified.get(&digest).is_some_and(|until| now < *until)
    }

    /// Remembers that it was right. If too many are remembered, one of them is forgotten for it.
    pub fn insert(&mut self, username: &str, password: &[u8], hash: &[u8], now: Duration) {
        if self.verified.len() >= VERIFIED_MAX {
            self.verified.retain(|_, until| now < *until);
        }
        if self.verified.len() >= VERIFIED_MAX {
            let soonest = self.verified.iter().min_by_key(|(_, until)| **until);
            if let Some(soonest) = soonest.map(|(digest, _)| *digest) {
                self.verified.remove(&soonest);
            }
        }
        let digest = self.digest(username, password, hash);
        self.verified.insert(digest, now.saturating_add(self.ttl));
    }

    /// Nobody sees a digest, so the secret in front is all that it needs.
    fn digest(&self, username: &str, password: &[u8], hash: &[u8]) -> [u8; 32] {
        let mut digest = Sha256::new();
        digest.update(self.secret);
        for part in [username.as_bytes(), password, hash] {
            digest.update((part.len() as u64).to_le_bytes());
            digest.update(part);
        }
        digest.finalize().into()
    }
}

impl std::fmt::Debug for VerifiedPasswords {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("VerifiedPasswords").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TTL: Duration = Duration::from_secs(30);

    #[test]
    fn a_password_is_remembered_for_its_user_its_hash_and_a_while() {
        let mut verified = VerifiedPasswords::new([7; 32], TTL);
        verified.insert("u", b"pw", b"hash", Duration::ZERO);
        let contains = |user, password: &[u8], hash: &[u8], secs| {
            verified.contains(user, password, hash, Duration::from_secs(secs))
        };
        assert!(contains("u", b"pw", b"hash", 29));
        assert!(!contains("u", b"pw", b"hash", 30));
        assert!(!contains("v", b"pw", b"hash", 1));
        assert!(!contains("u", b"px", b"hash", 1));
        assert!(!contains("u", b"pw", b"other", 1));
        assert!(!contains("up", b"w", b"hash", 1));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut verified = VerifiedPasswords::new([7; 32], TTL);
        for at in 0..VERIFIED_MAX + 10 {
            let now = Duration::from_millis(at as u64);
            verified.insert(&at.to_string(), b"pw", b"hash", now);
        }
        assert_eq!(verified.verified.len(), VERIFIED_MAX);
        let last = (VERIFIED_MAX + 9).to_string();
        assert!(verified.contains(&last, b"pw", b"hash", Duration::ZERO));
        assert!(!verified.contains("0", b"pw", b"hash", Duration::ZERO));
    }
}
