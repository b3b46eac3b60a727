//! A lock that many may read under, or one may write under.

use bytes::Bytes;

use super::own_key::OwnKey;
use super::queue::unique;
use super::session::Session;
use super::waiting::deleted;
use crate::error::Error;
use crate::into_bytes::IntoBytes;
use crate::keys::Keys;
use crate::kv::{Compare, Order, SortBy};
use crate::revision::Revision;

/// Held by a reader: no writer holds it. Dropping it unlocks.
#[derive(Debug)]
#[must_use = "it is unlocked when it is dropped"]
pub struct ReadLock(OwnKey);

/// Held by a writer: nobody else holds it. Dropping it unlocks.
#[derive(Debug)]
#[must_use = "it is unlocked when it is dropped"]
pub struct WriteLock(OwnKey);

impl Session {
    /// Waits until no writer that came before holds the lock. The keys are those of Go's
    /// `recipe.RWMutex`.
    ///
    /// # Errors
    ///
    /// [`Error::LeaseLost`] if the session is over first, or [`Error`].
    pub async fn read_lock(&self, name: impl IntoBytes) -> Result<ReadLock, Error> {
        let name = name.into_bytes();
        let waited = wait(self, &name, "/read", "/write");
        Ok(ReadLock(self.run_fallible(waited).await?))
    }

    /// Waits until nobody that came before holds the lock.
    ///
    /// # Errors
    ///
    /// As [`Session::read_lock`].
    pub async fn write_lock(&self, name: impl IntoBytes) -> Result<WriteLock, Error> {
        let name = name.into_bytes();
        let waited = wait(self, &name, "/write", "/");
        Ok(WriteLock(self.run_fallible(waited).await?))
    }
}

/// Stands in line with one kind of key, and waits for those of another that came before.
async fn wait(session: &Session, name: &Bytes, own: &str, others: &str) -> Result<OwnKey, Error> {
    let own = create_unique(session, &[name, own.as_bytes()].concat()).await?;
    let client = session.client();
    let others = Bytes::from([name, others.as_bytes()].concat());
    let Some(before) = own.created().previous() else {
        return Ok(own);
    };
    loop {
        let last = client
            .range(Keys::prefix(&others))
            .max_mod_revision(before)
            .sort(SortBy::ModRevision, Order::Descending)
            .limit(1)
            .await?;
        match last.kvs.first() {
            Some(kv) => deleted(client, &kv.key, last.header.revision).await?,
            None if client.txn().when(own.is_there()).await?.succeeded => return Ok(own),
            None => return Err(Error::LeaseLost),
        }
    }
}

/// A key under a prefix that nobody else has.
pub(super) async fn create_unique(session: &Session, prefix: &[u8]) -> Result<OwnKey, Error> {
    loop {
        let key = [prefix, b"/", unique().as_bytes()].concat();
        if let Some((own, _)) = OwnKey::create(session, key.into(), Bytes::new(), None).await? {
            return Ok(own);
        }
    }
}

impl ReadLock {
    /// For a transaction: that the lock is still held.
    pub fn is_held(&self) -> Compare {
        self.0.is_there()
    }

    /// Grows with each holder.
    #[must_use]
    pub fn fencing_token(&self) -> Revision {
        self.0.created()
    }

    /// Returns when the session is over, and the lock with it.
    pub async fn lost(&self) {
        self.0.session().lost().await;
    }

    /// Unlocks.
    ///
    /// # Errors
    ///
    /// [`Error`].
    pub async fn unlock(self) -> Result<(), Error> {
        self.0.remove().await
    }
}

impl WriteLock {
    /// For a transaction: that the lock is still held.
    pub fn is_held(&self) -> Compare {
        self.0.is_there()
    }

    /// Grows with each holder.
    #[must_use]
    pub fn fencing_token(&self) -> Revision {
        self.0.created()
    }

    /// Returns when the session is over, and the lock with it.
    pub async fn lost(&self) {
        self.0.session().lost().await;
    }

    /// Unlocks.
    ///
    /// # Errors
    ///
    /// [`Error`].
    pub async fn unlock(self) -> Result<(), Error> {
        self.0.remove().await
    }
}
