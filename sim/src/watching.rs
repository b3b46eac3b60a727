//! Both ends of a hub in the simulator: the history that it reads and the queues that it fills.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use bytes::Bytes;
use cairn_index::Revision;
use cairn_mvcc::{Change, EventLimits, Events, ReadError, Store};
use cairn_watch::{Full, History, ReplyKind, Sink, WatchReply};

use crate::planted::Planted;

/// Replies that may wait in a stream's queue. So few that slow clients become victims; the server
/// allows more.
const QUEUE_REPLIES_MAX: usize = 6;

/// The store's history, as the hub reads it.
#[derive(Clone)]
pub(crate) struct PastOf {
    pub(crate) store: Store,
    pub(crate) planted: Option<Planted>,
}

impl History for PastOf {
    type Error = ReadError;

    fn current(&self) -> Revision {
        History::current(&self.store)
    }

    fn compacted(&self) -> Option<Revision> {
        History::compacted(&self.store)
    }

    fn events(
        &self,
        from: Revision,
        through: Revision,
        limits: EventLimits,
        wanted: &mut dyn FnMut(&[u8]) -> bool,
    ) -> Result<Events, ReadError> {
        History::events(&self.store, from, through, limits, wanted)
    }

    fn previous(&self, changes: &[&Change]) -> Result<Vec<Option<Bytes>>, ReadError> {
        let mut previous = History::previous(&self.store, changes)?;
        if Planted::StalePrevKv.is(self.planted) {
            for (previous, change) in previous.iter_mut().zip(changes) {
                if change.at.main.to_wire() % 3 == 0 {
                    *previous = Some(change.kv.clone());
                }
            }
        }
        Ok(previous)
    }
}

/// What waits to go to a client.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    pub(crate) replies: VecDeque<WatchReply>,
    lost: bool,
}

/// The hub's end of a stream's queue.
#[derive(Clone)]
pub(crate) struct QueueSink {
    pub(crate) queue: Rc<RefCell<Queue>>,
    pub(crate) planted: Option<Planted>,
}

impl std::fmt::Debug for QueueSink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("QueueSink").finish_non_exhaustive()
    }
}

impl QueueSink {
    fn push(&self, reply: WatchReply) {
        let planted = self.planted;
        let queue = &mut *self.queue.borrow_mut();
        if let ReplyKind::Events {
            watch,
            events,
            fragments,
        } = &reply.kind
        {
            let revision = reply.revision;
            if Planted::ResendEvents.is(planted) && revision.to_wire() % 11 == 0 {
                queue.replies.push_back(reply.clone());
            }
            if Planted::SplitRevision.is(planted) && events.len() > 1 {
                let (first, rest) = events.split_at(1);
                for events in [first, rest] {
                    let kind = ReplyKind::Events {
                        watch: *watch,
                        events: events.into(),
                        fragments: *fragments,
                    };
                    queue.replies.push_back(WatchReply::new(revision, kind));
                }
                return;
            }
        }
        if Planted::EarlyProgress.is(planted) && matches!(reply.kind, ReplyKind::Progress { .. }) {
            let (early, kind) = (reply.revision.next(), reply.kind);
            queue.replies.push_back(WatchReply::new(early, kind));
            return;
        }
        queue.replies.push_back(reply);
    }
}

impl Sink for QueueSink {
    fn try_send(&mut self, reply: WatchReply) -> Result<(), Full> {
        if self.queue.borrow().replies.len() >= QUEUE_REPLIES_MAX {
            if Planted::LoseEvents.is(self.planted) {
                self.queue.borrow_mut().lost = true;
                return Ok(());
            }
            return Err(Full);
        }
        self.push(reply);
        Ok(())
    }

    fn answer(&mut self, reply: WatchReply) {
        self.push(reply);
    }

    fn has_room(&self) -> bool {
        self.queue.borrow().replies.len() <= QUEUE_REPLIES_MAX / 2
    }
}
