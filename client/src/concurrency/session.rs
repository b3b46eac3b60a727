//! A session: the life of a program as the cluster sees it.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};

use crate::client::Client;
use crate::error::Error;
use crate::lease::LeaseGuard;
use crate::revision::LeaseId;

/// A lease that is kept alive, and what stands on it: locks, leadership, places in a barrier. Clones
/// share it; it is revoked when the last is dropped.
#[derive(Clone, Debug)]
pub struct Session {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    client: Client,
    lease: LeaseGuard,
    /// Names that this session is at: the cluster tells sessions apart, and not the tasks of one.
    names: Mutex<HashMap<Bytes, Weak<AsyncMutex<()>>>>,
}

impl Client {
    /// Begins a session that the cluster considers over when it has not heard of it for so long.
    ///
    /// # Errors
    ///
    /// [`Error`].
    pub async fn session(&self, ttl: Duration) -> Result<Session, Error> {
        let lease = self.leases().keep(ttl).await?.revoke_on_drop();
        Ok(Session {
            shared: Arc::new(Shared {
                client: self.clone(),
                lease,
                names: Mutex::default(),
            }),
        })
    }
}

impl Session {
    /// The client that it was made from.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.shared.client
    }

    /// Its lease.
    #[must_use]
    pub fn lease(&self) -> LeaseId {
        self.shared.lease.id()
    }

    /// Whether it surely is not over.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        self.shared.lease.is_alive()
    }

    /// Returns when the session is over.
    pub async fn lost(&self) {
        self.shared.lease.lost().await;
    }

    /// Runs a future as long as the session lasts; if it is over first, the future is dropped.
    ///
    /// # Errors
    ///
    /// [`Error::LeaseLost`].
    pub async fn run<F: Future>(&self, future: F) -> Result<F::Output, Error> {
        self.shared.lease.run(future).await
    }

    /// The same for a future that may fail by itself.
    pub(super) async fn run_fallible<T>(
        &self,
        future: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        self.run(future).await?
    }

    /// Waits until no other task of this session is at a name.
    pub(super) async fn enter(&self, name: &Bytes) -> OwnedMutexGuard<()> {
        let place = self.place(name);
        place.lock_owned().await
    }

    /// The same without waiting.
    pub(super) fn try_enter(&self, name: &Bytes) -> Option<OwnedMutexGuard<()>> {
        self.place(name).try_lock_owned().ok()
    }

    fn place(&self, name: &Bytes) -> Arc<AsyncMutex<()>> {
        let mut names = self.shared.names.lock();
        if let Some(place) = names.get(name).and_then(Weak::upgrade) {
            return place;
        }
        names.retain(|_, place| place.strong_count() > 0);
        let place = Arc::new(AsyncMutex::new(()));
        names.insert(name.clone(), Arc::downgrade(&place));
        place
    }
}
