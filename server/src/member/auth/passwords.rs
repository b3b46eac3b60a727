//! Passwords: hashed and checked by bcrypt, on threads of their own.
//!
//! At etcd's default cost a hash takes some fifty milliseconds of a core, by design. On a worker that
//! would stop every connection that the worker has, so a few threads do nothing else, as many may
//! wait as these can do in a few seconds, and what was right a moment ago is not computed again.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use cairn_auth::VerifiedPasswords;
use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use parking_lot::Mutex;
use rand::TryRng;
use rand::rngs::SysRng;
use tokio::sync::oneshot;
use zeroize::Zeroizing;

use crate::member::error::{Error, ProposeError};

/// A password. Its memory is cleared when it is no longer needed, and it is never shown.
pub(crate) type Secret = Zeroizing<String>;

/// Hashes that may wait for each thread.
const WAITING_PER_THREAD: usize = 64;
/// How long a password that was right is remembered.
const REMEMBERED: Duration = Duration::from_secs(30);
/// The longest password that bcrypt looks at, in bytes.
const PASSWORD_BYTES_MAX: usize = 72;

/// A password that cannot be taken, or a login that cannot be answered.
#[derive(Debug, thiserror::Error)]
pub enum CredentialError {
    /// bcrypt would pass over what is behind its 72nd byte.
    #[error("bcrypt: password length exceeds 72 bytes")]
    PasswordTooLong,
    /// Tokens are signed elsewhere: this member has only the key to check them with.
    #[error("auth: token signing attempted with verify-only key")]
    VerifyOnly,
    /// The system's randomness, bcrypt or a signature failed.
    #[error("{0}")]
    Failed(String),
}

/// The threads that hash and check passwords. They end with the last handle.
pub(crate) struct Passwords {
    cost: u32,
    jobs: Sender<Job>,
    begun: Instant,
    verified: Mutex<VerifiedPasswords>,
}

enum Job {
    Hash {
        password: Secret,
        cost: u32,
        hashed: oneshot::Sender<bcrypt::BcryptResult<String>>,
    },
    Verify {
        password: Arc<Secret>,
        hash: Bytes,
        verified: oneshot::Sender<bool>,
    },
}

impl Passwords {
    /// Starts `threads` of them, which hash at `cost`, 4 to 31.
    ///
    /// # Errors
    ///
    /// If the system has no randomness or gives no thread.
    pub(crate) fn start(threads: usize, cost: u32) -> std::io::Result<Self> {
        let (jobs, waiting) = bounded::<Job>(WAITING_PER_THREAD * threads);
        for number in 0..threads {
            let waiting = waiting.clone();
            let thread = thread::Builder::new().name(format!("bcrypt-{number}"));
            thread.spawn(move || run(&waiting))?;
        }
        let mut secret = [0; 32];
        SysRng
            .try_fill_bytes(&mut secret)
            .map_err(std::io::Error::other)?;
        Ok(Self {
            cost,
            jobs,
            begun: Instant::now(),
            verified: Mutex::new(VerifiedPasswords::new(secret, REMEMBERED)),
        })
    }

    /// The hash of a password, in bcrypt's text form.
    ///
    /// # Errors
    ///
    /// [`CredentialError`], or [`ProposeError::TooManyRequests`] if too many wait.
    pub(crate) async fn hash(&self, password: Secret) -> Result<String, Error> {
        if password.len() > PASSWORD_BYTES_MAX {
            return Err(CredentialError::PasswordTooLong.into());
        }
        let (hashed, answer) = oneshot::channel();
        let cost = self.cost;
        self.send(Job::Hash {
            password,
            cost,
            hashed,
        })?;
        let hashed = answer.await.map_err(|_| ProposeError::Stopped)?;
        Ok(hashed.map_err(|error| CredentialError::Failed(error.to_string()))?)
    }

    /// Whether `password` is the one of this hash.
    ///
    /// # Errors
    ///
    /// [`ProposeError::TooManyRequests`] if too many wait.
    pub(crate) async fn verify(
        &self,
        username: &str,
        password: &Arc<Secret>,
        hash: Bytes,
    ) -> Result<bool, Error> {
        let now = self.begun.elapsed();
        if self
            .verified
            .lock()
            .contains(username, password.as_bytes(), &hash, now)
        {
            return Ok(true);
        }
        let (verified, answer) = oneshot::channel();
        self.send(Job::Verify {
            password: Arc::clone(password),
            hash: hash.clone(),
            verified,
        })?;
        let is_right = answer.await.map_err(|_| ProposeError::Stopped)?;
        if is_right {
            let now = self.begun.elapsed();
            self.verified
                .lock()
                .insert(username, password.as_bytes(), &hash, now);
        }
        Ok(is_right)
    }

    fn send(&self, job: Job) -> Result<(), ProposeError> {
        self.jobs.try_send(job).map_err(|refused| match refused {
            TrySendError::Full(_) => ProposeError::TooManyRequests,
            TrySendError::Disconnected(_) => ProposeError::Stopped,
        })
    }
}

fn run(jobs: &Receiver<Job>) {
    while let Ok(job) = jobs.recv() {
        // Whoever has given up is not worked for; who gives up meanwhile gets no answer.
        match job {
            Job::Hash { hashed, .. } if hashed.is_closed() => {}
            Job::Verify { verified, .. } if verified.is_closed() => {}
            Job::Hash {
                password,
                cost,
                hashed,
            } => {
                let done = bcrypt::hash_with_result(password.as_bytes(), cost);
                // As etcd's, so that either reads what the other stored.
                let done = done.map(|parts| parts.format_for_version(bcrypt::Version::TwoA));
                let _ = hashed.send(done);
            }
            Job::Verify {
                password,
                hash,
                verified,
            } => {
                let hash = std::str::from_utf8(&hash).unwrap_or_default();
                let right = bcrypt::verify(password.as_bytes(), hash).unwrap_or(false);
                let _ = verified.send(right);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(password: &str) -> Secret {
        Zeroizing::new(password.to_owned())
    }

    #[tokio::test]
    async fn a_password_is_right_for_its_own_hash_alone() {
        let passwords = Passwords::start(1, 4).unwrap();
        let hash = passwords.hash(secret("pw")).await.unwrap();
        assert!(hash.starts_with("$2a$04$"), "{hash}");
        let hash = Bytes::from(hash);
        for (password, right) in [("pw", true), ("pw", true), ("px", false), ("", false)] {
            let password = Arc::new(secret(password));
            let verified = passwords.verify("u", &password, hash.clone()).await;
            assert_eq!(verified.unwrap(), right, "{password:?}");
        }
        // No hash at all is nobody's.
        let password = Arc::new(secret(""));
        assert!(
            !passwords
                .verify("u", &password, Bytes::new())
                .await
                .unwrap()
        );
    }

    #[tokio::test]
    async fn hashes_of_etcd_are_read() {
        // Of "pw", by golang.org/x/crypto/bcrypt's format: version 2a.
        let passwords = Passwords::start(1, 4).unwrap();
        let hash = bcrypt::hash_with_salt("pw", 4, [7; 16]).unwrap();
        let hash = Bytes::from(hash.format_for_version(bcrypt::Version::TwoA));
        let password = Arc::new(secret("pw"));
        assert!(passwords.verify("u", &password, hash).await.unwrap());
    }

    #[tokio::test]
    async fn what_bcrypt_would_cut_off_is_refused() {
        let passwords = Passwords::start(1, 4).unwrap();
        assert!(passwords.hash(secret(&"p".repeat(72))).await.is_ok());
        let refused = passwords.hash(secret(&"p".repeat(73))).await;
        assert!(matches!(
            refused,
            Err(Error::Credential(CredentialError::PasswordTooLong))
        ));
    }
}
