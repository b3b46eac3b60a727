//! A lock.

use std::future::Future;

use bytes::Bytes;
use tokio::sync::OwnedMutexGuard;

use super::own_key::OwnKey;
use super::session::Session;
use super::waiting::{first_created, none_before};
use crate::error::Error;
use crate::into_bytes::IntoBytes;
use crate::keys::Keys;
use crate::kv::{Compare, OpResponse, Range, TxnResponse};
use crate::revision::Revision;

/// A lock that is held: nobody else holds it as long as the session lasts. Dropping it unlocks.
///
/// A lock of this kind, here as in etcd, cannot keep a program that was paused from acting after
/// its session is over. What it guards can: put [`Lock::is_held`] into the transaction that acts,
/// or hand [`Lock::fencing_token`] to who acts for you and refuses older tokens.
#[derive(Debug)]
#[must_use = "it is unlocked when it is dropped"]
pub struct Lock {
    own: OwnKey,
    _place: OwnedMutexGuard<()>,
}

impl Session {
    /// Waits for a lock and takes it. It is first come, first served, between all sessions and,
    /// within a session, its tasks. Dropping the future takes it out of the line.
    ///
    /// The keys are those of Go's `concurrency.Mutex` of the same name.
    ///
    /// ```no_run
    /// # async fn run(client: cairn_client::Client) -> Result<(), cairn_client::Error> {
    /// use std::time::Duration;
    ///
    /// let session = client.session(Duration::from_secs(10)).await?;
    /// let lock = session.lock("jobs/nightly").await?;
    /// lock.run(async { /* the work; dropped if the session is over */ }).await?;
    /// lock.unlock().await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::LeaseLost`] if the session is over first, or [`Error`].
    pub async fn lock(&self, name: impl IntoBytes) -> Result<Lock, Error> {
        let name = name.into_bytes();
        let waiting = async {
            let place = self.enter(&name).await;
            let prefix = prefix_of(&name);
            let (own, answer) = stand_in_line(self, &prefix).await?;
            if !is_first(&own, &answer) {
                none_before(self.client(), &prefix, own.created()).await?;
                // The session may have been over while it waited, and its place with it.
                let there = self.client().txn().when(own.is_there()).await?;
                if !there.succeeded {
                    return Err(Error::LeaseLost);
                }
            }
            Ok(Lock { own, _place: place })
        };
        self.run_fallible(waiting).await
    }

    /// Takes a lock if nobody has it.
    ///
    /// # Errors
    ///
    /// As [`Session::lock`].
    pub async fn try_lock(&self, name: impl IntoBytes) -> Result<Option<Lock>, Error> {
        let name = name.into_bytes();
        let Some(place) = self.try_enter(&name) else {
            return Ok(None);
        };
        let trying = async {
            let (own, answer) = stand_in_line(self, &prefix_of(&name)).await?;
            if is_first(&own, &answer) {
                return Ok(Some(Lock { own, _place: place }));
            }
            own.remove().await?;
            Ok(None)
        };
        self.run_fallible(trying).await
    }
}

fn prefix_of(name: &Bytes) -> Bytes {
    [name, &b"/"[..]].concat().into()
}

async fn stand_in_line(session: &Session, prefix: &Bytes) -> Result<(OwnKey, TxnResponse), Error> {
    let key = [&prefix[..], session.lease().to_string().as_bytes()].concat();
    let first = first_created(Range::new(Keys::prefix(prefix)));
    let made = OwnKey::create(session, key.into(), Bytes::new(), Some(first.into())).await?;
    made.ok_or_else(|| Error::protocol("another lease has this session's key"))
}

/// Whether nobody was before, in the answer that created the key.
fn is_first(own: &OwnKey, answer: &TxnResponse) -> bool {
    match answer.responses.get(1) {
        Some(OpResponse::Range(first)) => {
            let first = first.kvs.first();
            first.is_none_or(|first| first.create_revision == own.created())
        }
        _ => false,
    }
}

impl Lock {
    /// The key that stands for it.
    #[must_use]
    pub fn key(&self) -> &Bytes {
        self.own.key()
    }

    /// Grows with each holder.
    #[must_use]
    pub fn fencing_token(&self) -> Revision {
        self.own.created()
    }

    /// For a transaction: that the lock is still held.
    pub fn is_held(&self) -> Compare {
        self.own.is_there()
    }

    /// Returns when the session is over, and the lock with it.
    pub async fn lost(&self) {
        self.own.session().lost().await;
    }

    /// Runs a future as long as the lock is held; if the session is over first, it is dropped.
    ///
    /// # Errors
    ///
    /// [`Error::LeaseLost`].
    pub async fn run<F: Future>(&self, future: F) -> Result<F::Output, Error> {
        self.own.session().run(future).await
    }

    /// Unlocks, and waits until others can have it.
    ///
    /// # Errors
    ///
    /// [`Error`]; the lock then goes when the session is over, at the latest.
    pub async fn unlock(self) -> Result<(), Error> {
        self.own.remove().await
    }
}
