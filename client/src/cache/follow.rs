//! Following a cache: a stream of its changes, or a function that is called for each.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::sync::{oneshot, watch};
use tokio_stream::Stream;

use super::Shared;
use super::entry::Change;
use super::window::{Cursor, Window};
use crate::revision::Revision;
use crate::unfold::{BoxFuture, unfold};

/// The changes of a cache, in order. It ends with the cache.
pub struct Changes<V> {
    shared: Arc<Shared<V>>,
    cursor: Cursor<V>,
    ready: VecDeque<Change<V>>,
    revision: watch::Receiver<Revision>,
}

impl<V: Send + Sync + 'static> Changes<V> {
    pub(super) fn new(
        shared: &Arc<Shared<V>>,
        cursor: impl FnOnce(&Window<V>) -> Cursor<V>,
    ) -> Self {
        Self {
            revision: shared.revision.clone(),
            cursor: cursor(&shared.window.lock()),
            shared: Arc::clone(shared),
            ready: VecDeque::new(),
        }
    }

    /// The next change; `None` when the cache is gone. Nothing is lost if the future is dropped.
    pub async fn next(&mut self) -> Option<Change<V>> {
        loop {
            if let Some(change) = self.ready.pop_front() {
                return Some(change);
            }
            // Marked before it is looked at, so that what comes in between wakes.
            self.revision.mark_unchanged();
            let taken = self.shared.window.lock().take(&mut self.cursor);
            if taken.is_empty() {
                self.revision.changed().await.ok()?;
            } else {
                self.ready.extend(taken);
            }
        }
    }

    /// The same as a stream.
    pub fn into_stream(self) -> impl Stream<Item = Change<V>> + Send + Unpin {
        unfold(self, |mut changes| -> BoxFuture<_> {
            Box::pin(async move {
                let change = changes.next().await?;
                Some((change, changes))
            })
        })
    }
}

/// A function that is called for every change, until this is dropped.
#[derive(Debug)]
#[must_use = "the calls end when this is dropped"]
pub struct Callback {
    _ends: oneshot::Sender<()>,
}

impl Callback {
    pub(super) fn start<V, F>(mut changes: Changes<V>, mut call: F) -> Self
    where
        V: Send + Sync + 'static,
        F: FnMut(&Change<V>) + Send + 'static,
    {
        let (ends, mut ended) = oneshot::channel();
        let runtime = Handle::current();
        tokio::task::spawn_blocking(move || {
            let next = async || {
                tokio::select! {
                    biased;
                    _ = &mut ended => None,
                    change = changes.next() => change,
                }
            };
            let mut next = next;
            while let Some(change) = runtime.block_on(next()) {
                let called = catch_unwind(AssertUnwindSafe(|| call(&change)));
                if called.is_err() {
                    tracing::error!(key = ?change.key(), "a callback of a cache panicked");
                }
            }
        });
        Self { _ends: ends }
    }
}
