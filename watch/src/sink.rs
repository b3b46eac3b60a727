//! Where a stream's replies go, and how much may wait there.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::reply::WatchReply;

/// How many replies may wait in a stream's sink. A client may have thousands of watchers on one
/// stream and all on one key, and one event should not make victims of most of them; waiting
/// replies that share their events cost [`REPLY_OVERHEAD_BYTES`] each.
pub const SINK_REPLIES_MAX: usize = SINK_BYTES_MAX / REPLY_OVERHEAD_BYTES;

/// How many bytes may wait in a stream's sink: enough to keep a connection busy while the hub works
/// for others, little enough that a thousand stalled clients cost a gibibyte at worst, and far less
/// if they wait for the same events. A single reply may be longer, as revisions are not split.
pub const SINK_BYTES_MAX: usize = 1024 * 1024;

/// What a reply counts beside its events: itself and its place in a queue.
pub const REPLY_OVERHEAD_BYTES: usize = 64;

const _: () = assert!(size_of::<WatchReply>() <= REPLY_OVERHEAD_BYTES);

/// The sink of one stream, in the order in which the client will see its replies.
///
/// Only answers to the client's own requests are taken without a bound here, so whoever reads the
/// stream's requests must wait while many answers do: that is the bound.
pub trait Sink {
    /// Takes a reply that the client did not ask for.
    ///
    /// # Errors
    ///
    /// [`Full`] if there is no room for it. A sink in which nothing waits has room for any reply.
    fn try_send(&mut self, reply: WatchReply) -> Result<(), Full>;

    /// Takes the answer to a request of the client: created, refused or canceled.
    fn answer(&mut self, reply: WatchReply);

    /// Whether a stream that was full is worth another try. It should not be before about half of
    /// the sink is free, so that catching up works in large pieces.
    fn has_room(&self) -> bool;
}

/// A sink has no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the stream's sink is full")]
pub struct Full;

/// Counts what waits in one sink, for a queue between two threads: the hub takes room before it
/// queues a reply, the stream's task gives it back when the reply is on its way to the client.
///
/// Both counters are only counters: the queue, not they, orders memory between the threads. One
/// thread takes room, so that what it checks can only become better until it takes.
#[derive(Debug, Default)]
pub struct SinkBudget {
    replies: AtomicUsize,
    bytes: AtomicUsize,
}

impl SinkBudget {
    /// Takes room for a reply.
    ///
    /// # Errors
    ///
    /// [`Full`] if replies wait, and with this one there would be too many or too large ones.
    pub fn take(&self, reply: &WatchReply) -> Result<(), Full> {
        let replies = self.replies.load(Ordering::Relaxed);
        let bytes = self.bytes.load(Ordering::Relaxed);
        let fits = replies < SINK_REPLIES_MAX && bytes + reply.weight() <= SINK_BYTES_MAX;
        if replies > 0 && !fits {
            return Err(Full);
        }
        self.take_regardless(reply);
        Ok(())
    }

    /// Takes room for an answer, which cannot be refused.
    pub fn take_regardless(&self, reply: &WatchReply) {
        self.replies.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(reply.weight(), Ordering::Relaxed);
    }

    /// Gives a reply's room back.
    pub fn give_back(&self, reply: &WatchReply) {
        let replies = self.replies.fetch_sub(1, Ordering::Relaxed);
        let bytes = self.bytes.fetch_sub(reply.weight(), Ordering::Relaxed);
        debug_assert!(
            replies >= 1 && bytes >= reply.weight(),
            "room is given back once"
        );
    }

    /// Whether at least half of the room is free.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.replies.load(Ordering::Relaxed) <= SINK_REPLIES_MAX / 2
            && self.bytes.load(Ordering::Relaxed) <= SINK_BYTES_MAX / 2
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;
    use cairn_index::Revision;
    use cairn_proto::stored::EncodedEvent;

    use super::*;
    use crate::reply::ReplyKind;
    use crate::watcher::{Fragments, WatchId};

    fn reply_of(bytes: usize) -> WatchReply {
        let events = Arc::from([EncodedEvent(Bytes::from(vec![0; bytes]))]);
        WatchReply::new(
            Revision::FIRST,
            ReplyKind::Events {
                watch: WatchId::new(0),
                events,
                fragments: Fragments::Refused,
            },
        )
    }

    #[test]
    fn an_empty_sink_takes_a_reply_of_any_size_and_nothing_more() {
        let budget = SinkBudget::default();
        let huge = reply_of(SINK_BYTES_MAX * 2);
        assert_eq!(budget.take(&huge), Ok(()));
        assert_eq!(budget.take(&reply_of(0)), Err(Full));
        assert!(!budget.has_room());
        budget.give_back(&huge);
        assert!(budget.has_room());
    }

    #[test]
    fn small_replies_fit_until_their_number_is_reached() {
        let budget = SinkBudget::default();
        let progress = WatchReply::new(Revision::FIRST, ReplyKind::Progress { watch: None });
        let taken = (0..SINK_REPLIES_MAX * 2)
            .take_while(|_| budget.take(&progress).is_ok())
            .count();
        assert_eq!(taken, SINK_REPLIES_MAX);
        budget.take_regardless(&progress);
        budget.give_back(&progress);
        assert_eq!(budget.take(&progress), Err(Full));
    }
}
