//! A map that a watch keeps fresh.
//!
//! [`Snapshot`] and [`window::Window`] are pure; [`feed`] brings what the server says, and
//! [`Cache`] is what a program holds.

mod entry;
mod feed;
mod follow;
mod key;
mod snapshot;
mod window;

use std::future::IntoFuture;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::{Mutex, RwLock};
#[cfg(feature = "json")]
use serde::de::DeserializeOwned;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};
use tracing::Instrument as _;

pub use entry::{Change, Entry};
pub use follow::{Callback, Changes};
pub use snapshot::Snapshot;

use crate::client::Client;
use crate::error::Error;
use crate::keys::Keys;
use crate::kv::KeyValue;
use crate::revision::Revision;
use crate::unfold::BoxFuture;
use feed::Feed;
use window::Window;

/// How many changes are kept for those who follow, unless told otherwise.
const WINDOW_CHANGES: usize = 10_000;
/// How often a member is asked for progress while somebody waits for it.
const ASK_AGAIN: Duration = Duration::from_millis(100);

type Decode<V> = Arc<dyn Fn(&KeyValue) -> Result<V, String> + Send + Sync>;

/// A cache that is to be filled; awaited, a [`Cache`].
#[must_use = "a cache begins when it is awaited"]
pub struct CacheRequest<V> {
    client: Client,
    keys: Keys,
    decode: Decode<V>,
    window_changes: usize,
    confirm_every: Option<Duration>,
}

/// A copy of some keys that a watch keeps fresh; clones share it.
///
/// It is first filled by a list, all at one revision, and then follows a watch, which goes on
/// whatever happens to connections and members. If the server's history was compacted while no
/// member could be reached, the keys are listed again, and the difference is told as changes, so
/// that whoever follows hears of every deletion. It ends when the last clone is dropped.
///
/// ```no_run
/// # async fn run(client: cairn_client::Client) -> Result<(), cairn_client::Error> {
/// use cairn_client::{Change, Keys};
///
/// let cache = client.cache(Keys::prefix("config/")).await?;
/// let callback = cache.on_change(|change| match change {
///     Change::Insert { new } => println!("new: {:?}", new.kv().key),
///     Change::Update { old, new } => println!("{:?}, was {:?}", new.value(), old.value()),
///     Change::Delete { old, .. } => println!("gone: {:?}", old.kv().key),
/// });
/// if let Some(entry) = cache.get("config/limit") {
///     println!("{:?}", entry.value());
/// }
/// # drop(callback);
/// # Ok(())
/// # }
/// ```
pub struct Cache<V = Bytes> {
    shared: Arc<Shared<V>>,
    feed: Arc<FeedHandle>,
}

/// Ends the feed with the last cache.
struct FeedHandle(AbortHandle);

impl Drop for FeedHandle {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// What the feed writes and all others read.
struct Shared<V> {
    client: Client,
    current: RwLock<Snapshot<V>>,
    window: Mutex<Window<V>>,
    health: Mutex<Health>,
    /// The revision of the present; closed when the feed ends.
    revision: watch::Receiver<Revision>,
}

/// How a cache fares.
#[derive(Clone, Debug)]
pub struct Health {
    /// The revision up to which it has everything.
    pub revision: Revision,
    /// Whether a member is being heard.
    pub is_connected: bool,
    /// When a member last said that nothing is missing: how stale the cache may be.
    pub confirmed: Instant,
    /// How many changes it has taken up.
    pub changes: u64,
    /// How often it was listed anew because history was compacted.
    pub relists: u64,
    /// How many values could not be decoded.
    pub undecodable: u64,
    /// Why it was last interrupted, as long as it is.
    pub error: Option<Error>,
}

impl Client {
    /// Keeps a copy of keys: awaited, a [`Cache`] that has been filled.
    pub fn cache(&self, keys: impl Into<Keys>) -> CacheRequest<Bytes> {
        CacheRequest {
            client: self.clone(),
            keys: keys.into(),
            decode: Arc::new(|kv| Ok(kv.value.clone())),
            window_changes: WINDOW_CHANGES,
            confirm_every: None,
        }
    }
}

impl<V> CacheRequest<V> {
    /// Decodes values. One that cannot be decoded is an entry without a value
    /// ([`Entry::decode_error`]).
    pub fn decode<T, E, F>(self, decode: F) -> CacheRequest<T>
    where
        E: ToString,
        F: Fn(&KeyValue) -> Result<T, E> + Send + Sync + 'static,
    {
        CacheRequest {
            client: self.client,
            keys: self.keys,
            decode: Arc::new(move |kv| decode(kv).map_err(|error| error.to_string())),
            window_changes: self.window_changes,
            confirm_every: self.confirm_every,
        }
    }

    /// Decodes values from JSON.
    #[cfg(feature = "json")]
    pub fn json<T: DeserializeOwned>(self) -> CacheRequest<T> {
        self.decode(|kv| serde_json::from_slice(&kv.value))
    }

    /// How many changes are kept for those who follow. One that is slower hears of differences.
    /// 10,000 by default.
    pub fn window(mut self, changes: usize) -> Self {
        self.window_changes = changes;
        self
    }

    /// Asks for progress this often, so that [`Health::confirmed`] is never much older while a
    /// member is heard. Until something is written after the list, there is no progress to tell.
    pub fn confirm_every(mut self, period: Duration) -> Self {
        self.confirm_every = Some(period);
        self
    }
}

impl<V: Send + Sync + 'static> IntoFuture for CacheRequest<V> {
    type Output = Result<Cache<V>, Error>;
    type IntoFuture = BoxFuture<Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let keys = self.keys.clone();
            let (sender, revision) = watch::channel(Revision::FIRST);
            let shared = Arc::new(Shared {
                client: self.client.clone(),
                current: RwLock::new(Snapshot::empty()),
                window: Mutex::new(Window::new(self.window_changes)),
                health: Mutex::new(Health::new()),
                revision,
            });
            let mut feed = Feed::new(self, Arc::clone(&shared), sender);
            let watch = feed.fill().await?;
            let span = tracing::debug_span!(parent: None, "etcd_cache", ?keys);
            let task = tokio::spawn(feed.run(watch).instrument(span));
            Ok(Cache {
                shared,
                feed: Arc::new(FeedHandle(task.abort_handle())),
            })
        })
    }
}

impl Health {
    fn new() -> Self {
        Self {
            revision: Revision::FIRST,
            is_connected: false,
            confirmed: Instant::now(),
            changes: 0,
            relists: 0,
            undecodable: 0,
            error: None,
        }
    }
}

impl<V> Cache<V> {
    /// The entry of a key.
    #[must_use]
    pub fn get(&self, key: impl AsRef<[u8]>) -> Option<Arc<Entry<V>>> {
        self.shared.current.read().get(key).cloned()
    }

    /// The present, as a map that never changes. It costs nothing to take or to keep, but for what
    /// changes meanwhile.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot<V> {
        self.shared.current.read().clone()
    }

    /// The number of keys.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shared.current.read().len()
    }

    /// Whether there is no key.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The revision up to which it has everything.
    #[must_use]
    pub fn revision(&self) -> Revision {
        *self.shared.revision.borrow()
    }

    /// Waits until it has everything up to a revision: that of a write of one's own, say. Where
    /// nothing happens to the cache's keys, a member is asked for progress.
    ///
    /// # Errors
    ///
    /// [`Error::Timeout`], if that takes longer than a request may.
    pub async fn wait_for(&self, revision: Revision) -> Result<Snapshot<V>, Error> {
        let limit = self.shared.client.request_timeout();
        let waited = timeout(limit, self.reach(revision)).await;
        waited.map_err(|_| Error::Timeout {
            after: limit,
            reason: format!("the cache is at revision {}", self.revision()),
        })?;
        Ok(self.snapshot())
    }

    async fn reach(&self, wanted: Revision) {
        let mut revision = self.shared.revision.clone();
        loop {
            let reached = revision.wait_for(|revision| *revision >= wanted);
            if timeout(ASK_AGAIN, reached).await.is_ok() {
                return;
            }
            self.shared.client.hub().request_progress();
        }
    }

    /// A snapshot that has everything that was written before this call, by whomever: the cluster
    /// is asked for its revision alone, and the cache waits for it.
    ///
    /// With etcd older than 3.4.25 and 3.5.8 it is not to be relied on: they may report progress
    /// before the changes that lead to it.
    ///
    /// # Errors
    ///
    /// [`Error`].
    pub async fn linearizable(&self) -> Result<Snapshot<V>, Error> {
        let nothing = Keys::one("\0");
        let answer = self.shared.client.range(nothing).count_only().await?;
        self.wait_for(answer.header.revision).await
    }

    /// How it fares.
    #[must_use]
    pub fn health(&self) -> Health {
        let mut health = self.shared.health.lock().clone();
        health.revision = self.revision();
        health.is_connected &= self.shared.client.hub().is_connected();
        health
    }
}

impl<V: Send + Sync + 'static> Cache<V> {
    /// The changes from now on, in order.
    #[must_use]
    pub fn changes(&self) -> Changes<V> {
        Changes::new(&self.shared, Window::knowing_all)
    }

    /// The changes from a revision on, if the cache still has them all.
    #[must_use]
    pub fn changes_from(&self, revision: Revision) -> Option<Changes<V>> {
        let cursor = self.shared.window.lock().knowing_before(revision)?;
        Some(Changes::new(&self.shared, |_| cursor))
    }

    /// Calls a function for every key that is there, and then for every change, in order, until
    /// the [`Callback`] is dropped.
    ///
    /// It is called on a thread of its own: one that is slow or panics holds up and hurts nobody.
    /// One that falls further behind than the window hears of the difference.
    pub fn on_change<F>(&self, call: F) -> Callback
    where
        F: FnMut(&Change<V>) + Send + 'static,
    {
        let changes = Changes::new(&self.shared, Window::knowing_nothing);
        Callback::start(changes, call)
    }
}

impl<V> Clone for Cache<V> {
    fn clone(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
            feed: Arc::clone(&self.feed),
        }
    }
}

impl<V> std::fmt::Debug for Cache<V> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cache")
            .field("revision", &self.revision())
            .field("keys", &self.len())
            .finish_non_exhaustive()
    }
}

/// Waits before the server is asked again after a failure.
async fn pause() {
    sleep(ASK_AGAIN).await;
}
