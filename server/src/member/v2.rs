//! The second API's tree: changed through the log, read from snapshots, waited for by way of the
//! watch dispatcher.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use cairn_index::Revision;
use cairn_mvcc::{Change, ReadError, Store};
use cairn_replica::apply::Outcome;
use cairn_replica::log_request::LogRequest;
use cairn_v2::{
    Counter, Done, ErrorKind, Event, Failure, Full, Hub, NodePath, Past, Request, Shown, Sink,
    Snapshot, Stats, StorageError, Timestamp, Watch, WatchId,
};
use parking_lot::Mutex;
use tokio::sync::mpsc;

use super::Member;
use crate::member::error::{Error, ProposeError};

/// Events that may wait for a client; one that is slower is cut off. etcd's number.
const EVENTS_WAITING_MAX: usize = 100;

/// The longest request of the second API as the log stores it: etcd bounds the form alone, at 10 MiB.
const REQUEST_BYTES_MAX: usize = 11 << 20;

/// The time, as requests carry it.
pub(crate) fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let nanos = since.map_or(0, |since| since.as_nanos());
    Timestamp::from_nanos(i64::try_from(nanos).unwrap_or(i64::MAX))
}

/// Why the tree gives no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum V2Error {
    /// The request is refused.
    #[error(transparent)]
    Refused(#[from] cairn_v2::Error),
    /// The request did not get through the log, or nobody confirms a read.
    #[error(transparent)]
    Member(#[from] Error),
    /// The tree cannot be read.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl From<Failure> for V2Error {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Refused(error) => Self::Refused(error),
            Failure::Storage(error) => Self::Storage(error),
        }
    }
}

/// Who waits for events, and what was counted.
pub(crate) struct V2 {
    stats: Arc<Stats>,
    hub: Mutex<Hub<EventQueue>>,
}

struct EventQueue(mpsc::Sender<Arc<Event>>);

impl Sink for EventQueue {
    fn send(&mut self, event: &Arc<Event>) -> Result<(), Full> {
        self.0.try_send(Arc::clone(event)).map_err(|_| Full)
    }
}

impl V2 {
    /// Nobody waits for what comes after `seen`.
    pub(crate) fn new(stats: Arc<Stats>, seen: Revision) -> Arc<Self> {
        Arc::new(Self {
            stats,
            hub: Mutex::new(Hub::new(seen)),
        })
    }

    /// How often what was done.
    pub(crate) fn stats(&self) -> &Stats {
        &self.stats
    }

    /// How many wait.
    pub(crate) fn watchers(&self) -> usize {
        self.hub.lock().len()
    }

    /// Tells who waits of what a batch of entries changed; what the dispatcher was not told of before
    /// is read from the store.
    pub(crate) fn notify(&self, store: &Store, changes: &[Change]) -> Result<(), StorageError> {
        let (Some(first), Some(last)) = (changes.first(), changes.last()) else {
            return Ok(());
        };
        let mut hub = self.hub.lock();
        if let Some(before) = first.at.main.previous() {
            cairn_v2::catch_up(&mut hub, store, before)?;
        }
        hub.notify(changes, last.at.main)
    }

    /// Tells who waits of all that the store holds.
    pub(crate) fn skip(&self, store: &Store) -> Result<(), StorageError> {
        cairn_v2::catch_up(&mut self.hub.lock(), store, store.current())
    }
}

/// Somebody who waits. It is forgotten when this is dropped.
pub(crate) struct Waiting {
    /// The index of the store when the wait began.
    pub index: Revision,
    /// What happens. It ends with the first event, unless that is to be a stream, or if the client is
    /// too slow.
    pub events: mpsc::Receiver<Arc<Event>>,
    ends: End,
}

enum End {
    /// The hub knows of it.
    Leave {
        hub: Arc<V2>,
        id: WatchId,
    },
    /// What it got was past. As with etcd a stream stays open then, and nothing follows.
    StaysOpen {
        _events: mpsc::Sender<Arc<Event>>,
    },
    Ended,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if let End::Leave { hub, id } = &self.ends {
            hub.hub.lock().remove(*id);
        }
    }
}

impl Member {
    /// Changes the tree.
    ///
    /// # Errors
    ///
    /// [`V2Error`].
    pub(crate) async fn v2_write(&self, request: Request) -> Result<Done, V2Error> {
        if matches!(request.method.as_str(), "PUT" | "POST") {
            self.check_space(request.val.len() as u64)?;
        }
        self.check_apply_lag()?;
        let id = self.request_ids.next();
        let data = LogRequest::V2(Box::new(request)).encode(id, None);
        let bytes_max = REQUEST_BYTES_MAX.max(self.limits.request_bytes_max);
        match self.propose_data(id, data, bytes_max).await? {
            Outcome::V2(done) => Ok(done?),
            // What answers otherwise is no change of the tree.
            _ => Err(Error::from(ProposeError::Stopped).into()),
        }
    }

    /// Reads a node as this member has it: the node, and the index.
    ///
    /// # Errors
    ///
    /// [`V2Error`].
    pub(crate) fn v2_get(
        &self,
        path: &NodePath,
        recursive: bool,
    ) -> Result<(Shown, Revision), V2Error> {
        let read = self.v2_get_uncounted(path, recursive);
        self.v2.stats.count(if read.is_ok() {
            Counter::GetsSuccess
        } else {
            Counter::GetsFail
        });
        read
    }

    /// Whether this member has a node.
    pub(crate) fn v2_exists(&self, path: &NodePath) -> bool {
        cairn_v2::exists(&self.store, path)
    }

    /// [`Self::v2_get`], for the server itself.
    ///
    /// # Errors
    ///
    /// [`V2Error`].
    pub(crate) fn v2_get_uncounted(
        &self,
        path: &NodePath,
        recursive: bool,
    ) -> Result<(Shown, Revision), V2Error> {
        loop {
            let snapshot = Snapshot::new(&self.store);
            match cairn_v2::get(&snapshot, path, recursive) {
                // A compaction came in between.
                Err(Failure::Storage(StorageError::Read(ReadError::Compacted { .. }))) => {}
                read => return Ok(read.map(|node| (node, snapshot.index()))?),
            }
        }
    }

    /// Waits for what happens from the index `from` on, or from now on.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::EventIndexCleared`] if history does not reach back to there, others if it cannot be
    /// read.
    pub(crate) async fn v2_wait(
        &self,
        watch: Watch,
        from: Option<Revision>,
    ) -> Result<Waiting, V2Error> {
        self.metrics.debugging_store_watch_requests_total.inc();
        let index = self.store.current();
        let from = from.unwrap_or_else(|| index.next());
        let (sender, events) = mpsc::channel(EVENTS_WAITING_MAX);
        let mut sink = EventQueue(sender);
        let mut next = from;
        loop {
            match cairn_v2::past(&self.store, &watch, next)? {
                Past::Found(event) => {
                    // It is the first in an empty queue.
                    let _ = sink.send(&Arc::new(*event));
                    let ends = if watch.stream {
                        End::StaysOpen { _events: sink.0 }
                    } else {
                        End::Ended
                    };
                    return Ok(Waiting {
                        index,
                        events,
                        ends,
                    });
                }
                Past::Cleared(first) => {
                    let cause = format!("the requested history has been cleared [{first}/{next}]");
                    let kind = ErrorKind::EventIndexCleared;
                    return Err(kind.about(cause, index.number()).into());
                }
                Past::NothingBefore(seen) => next = seen,
            }
            if next > self.store.current() {
                let registered = self.v2.hub.lock().register(watch.clone(), next, sink);
                match registered {
                    Ok(id) => {
                        let hub = Arc::clone(&self.v2);
                        return Ok(Waiting {
                            index,
                            events,
                            ends: End::Leave { hub, id },
                        });
                    }
                    Err((_, again)) => sink = again,
                }
            }
            tokio::task::yield_now().await;
        }
    }
}
