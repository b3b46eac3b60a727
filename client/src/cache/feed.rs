//! What fills a cache and keeps it fresh: a list, then a watch, and a list again where history was
//! compacted.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

use super::entry::Entry;
use super::snapshot::Snapshot;
use super::{CacheRequest, Decode, Shared, pause};
use crate::client::Client;
use crate::error::Error;
use crate::keys::Keys;
use crate::kv::KeyValue;
use crate::revision::Revision;
use crate::watch::{Update, Watch};

/// See the module.
pub(super) struct Feed<V> {
    client: Client,
    keys: Keys,
    decode: Decode<V>,
    confirm_every: Option<Duration>,
    shared: Arc<Shared<V>>,
    revision: watch::Sender<Revision>,
    state: Snapshot<V>,
}

impl<V: Send + Sync + 'static> Feed<V> {
    pub(super) fn new(
        request: CacheRequest<V>,
        shared: Arc<Shared<V>>,
        revision: watch::Sender<Revision>,
    ) -> Self {
        Self {
            client: request.client,
            keys: request.keys,
            decode: request.decode,
            confirm_every: request.confirm_every,
            shared,
            revision,
            state: Snapshot::empty(),
        }
    }

    /// Lists the keys and begins the watch that goes on from there.
    pub(super) async fn fill(&mut self) -> Result<Watch, Error> {
        // Its revision is that of the first page, which the stream is at.
        let mut listed = self.client.range(self.keys.clone()).listing();
        let mut entries = Vec::new();
        while let Some(kv) = listed.next().await {
            entries.push(self.entry(kv?));
        }
        let revision = listed
            .revision()
            .ok_or_else(|| Error::protocol("a list without an answer"))?;
        let listed = Snapshot::listed(entries, revision);
        let changes = listed.since(&self.state);
        self.state = listed;
        self.publish(changes);
        let watch = self
            .client
            .watch(self.keys.clone())
            .from(revision.next())
            .progress();
        watch.await
    }

    /// Follows the watch for ever; it ends by being aborted.
    pub(super) async fn run(mut self, mut watch: Watch) {
        let mut ticks = interval(self.confirm_every.unwrap_or(Duration::from_secs(3600)));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let update = tokio::select! {
                update = watch.next() => update,
                _ = ticks.tick() => {
                    if self.confirm_every.is_some() {
                        watch.request_progress();
                    }
                    continue;
                }
            };
            match update {
                Some(Ok(Update::Events { events, revision })) => {
                    let decode = |kv| self.entry(kv);
                    let mut state = self.state.clone();
                    let changes = state.apply(events, revision, decode);
                    self.state = state;
                    self.publish(changes);
                }
                Some(Ok(Update::Progress(revision))) => {
                    self.state.progress(revision);
                    self.publish(Vec::new());
                }
                Some(Ok(Update::Compacted(revision))) => {
                    tracing::info!(%revision, "history is compacted: listing the keys again");
                    watch = self.fill_again(None).await;
                }
                Some(Err(error)) => watch = self.fill_again(Some(error)).await,
                None => watch = self.fill_again(None).await,
            }
        }
    }

    async fn fill_again(&mut self, mut error: Option<Error>) -> Watch {
        loop {
            {
                let mut health = self.shared.health.lock();
                health.is_connected = false;
                health.relists += 1;
                health.error = error;
            }
            match self.fill().await {
                Ok(watch) => return watch,
                Err(failure) => {
                    tracing::warn!(error = %failure, "a cache cannot be listed");
                    error = Some(failure);
                    pause().await;
                }
            }
        }
    }

    fn publish(&self, changes: Vec<super::Change<V>>) {
        {
            let mut health = self.shared.health.lock();
            health.is_connected = true;
            health.confirmed = Instant::now();
            health.changes += changes.len() as u64;
            health.error = None;
        }
        self.shared.window.lock().push(changes, self.state.clone());
        *self.shared.current.write() = self.state.clone();
        self.revision.send_replace(self.state.revision());
    }

    /// The entry of a key-value. What came is part of a larger message, which it must not keep.
    fn entry(&self, mut kv: KeyValue) -> Entry<V> {
        kv.key = Bytes::copy_from_slice(&kv.key);
        kv.value = Bytes::copy_from_slice(&kv.value);
        let value = (self.decode)(&kv);
        if let Err(error) = &value {
            self.shared.health.lock().undecodable += 1;
            tracing::warn!(key = ?kv.key, error, "a value cannot be decoded");
        }
        Entry::new(kv, value)
    }
}
