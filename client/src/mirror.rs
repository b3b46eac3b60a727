//! Copying a prefix from one cluster to another, and keeping the copy fresh.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use tokio_stream::StreamExt as _;

use crate::client::Client;
use crate::error::Error;
use crate::into_bytes::IntoBytes;
use crate::keys::Keys;
use crate::kv::{Delete, Op, Put};
use crate::revision::Revision;
use crate::watch::{Event, Update};

/// Operations of one transaction: within etcd's default limit of 128.
const BATCH: usize = 100;

/// A copy of the keys under a prefix; see [`Client::mirror`].
#[derive(Clone, Debug)]
pub struct Mirror {
    from: Client,
    to: Client,
    copied: Arc<AtomicU64>,
}

impl Client {
    /// Copies the keys under a prefix to another client, under a prefix there, once [`Mirror::run`]
    /// is called. Leases are not copied.
    ///
    /// ```no_run
    /// # async fn run(here: cairn_client::Client, there: cairn_client::Client) -> Result<(), cairn_client::Error> {
    /// here.mirror("config/", &there, "copy/config/").run().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn mirror(
        &self,
        prefix: impl IntoBytes,
        to: &Self,
        prefix_there: impl IntoBytes,
    ) -> Mirror {
        Mirror {
            from: self.namespace(prefix),
            to: to.namespace(prefix_there),
            copied: Arc::default(),
        }
    }
}

impl Mirror {
    /// How many changes were copied; of a clone, while the other runs.
    #[must_use]
    pub fn copied(&self) -> u64 {
        self.copied.load(Ordering::Relaxed)
    }

    /// Copies all keys, deletes what is there and not here, and then copies every change, for ever.
    /// The changes of one revision are made as one revision there, if they are not more than 100.
    ///
    /// # Errors
    ///
    /// [`Error`], if one of the clusters refuses.
    pub async fn run(&self) -> Result<Infallible, Error> {
        loop {
            let copied_at = self.copy_all().await?;
            self.follow(copied_at).await?;
        }
    }

    /// Copies all keys; returns the revision that they were read at.
    async fn copy_all(&self) -> Result<Revision, Error> {
        let mut listed = self.from.range(Keys::all()).listing();
        let mut keys = BTreeSet::new();
        let mut ops = Vec::new();
        while let Some(kv) = listed.next().await {
            let kv = kv?;
            keys.insert(kv.key.clone());
            ops.push(Put::new(kv.key, kv.value).into());
            if ops.len() == BATCH {
                self.make(std::mem::take(&mut ops)).await?;
            }
        }
        self.make(ops).await?;
        let revision = listed.revision();
        self.prune(&keys).await?;
        revision.ok_or_else(|| Error::protocol("a list without an answer"))
    }

    /// Deletes what is there and not among these.
    async fn prune(&self, keys: &BTreeSet<Bytes>) -> Result<(), Error> {
        let mut there = self.to.range(Keys::all()).keys_only().stream();
        let mut ops = Vec::new();
        while let Some(kv) = there.next().await {
            let key = kv?.key;
            if !keys.contains(&key) {
                ops.push(Delete::new(key).into());
            }
            if ops.len() == BATCH {
                self.make(std::mem::take(&mut ops)).await?;
            }
        }
        self.make(ops).await
    }

    /// Copies changes until history is compacted before they were seen.
    async fn follow(&self, after: Revision) -> Result<(), Error> {
        let mut watch = self.from.watch(Keys::all()).from(after.next()).await?;
        while let Some(update) = watch.next().await {
            match update? {
                Update::Events { events, .. } => self.copy(events).await?,
                Update::Progress(_) => {}
                Update::Compacted(_) => return Ok(()),
            }
        }
        Ok(())
    }

    async fn copy(&self, events: Vec<Event>) -> Result<(), Error> {
        let mut ops = Vec::new();
        let mut revision = None;
        for event in events {
            if revision != Some(event.revision()) || ops.len() == BATCH {
                self.make(std::mem::take(&mut ops)).await?;
                revision = Some(event.revision());
            }
            ops.push(match event {
                Event::Put { kv, .. } => Put::new(kv.key, kv.value).into(),
                Event::Delete { key, .. } => Delete::new(key).into(),
            });
        }
        self.make(ops).await
    }

    /// Makes some changes there; doing that twice changes nothing.
    async fn make(&self, ops: Vec<Op>) -> Result<(), Error> {
        if ops.is_empty() {
            return Ok(());
        }
        let count = ops.len() as u64;
        loop {
            match self.to.txn().then_all(ops.clone()).await {
                Err(error) if error.is_ambiguous() => {}
                ended => {
                    ended?;
                    self.copied.fetch_add(count, Ordering::Relaxed);
                    return Ok(());
                }
            }
        }
    }
}
