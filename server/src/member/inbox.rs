//! What has come from other members and waits for the consensus thread.
//!
//! Two queues, as there are two lanes: acknowledgements and heartbeats do not wait behind entries.
//! Each has a budget in bytes. A sender beyond it waits, and with it, by HTTP/2's flow control, the
//! member that sends; the other lane goes on.

use std::sync::Arc;

use cairn_consensus::MemberId;
use cairn_mvcc::Prepared;
use cairn_proto::cairnpb::RaftMessages;
use cairn_proto::raftpb;
use crossbeam_channel::{Receiver, Sender, unbounded};
use prost::Message as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Bytes of entries that may wait.
const ENTRIES_BYTES_MAX: u32 = 64 << 20;
/// Bytes of other messages that may wait: hundreds of thousands of them.
const QUICK_BYTES_MAX: u32 = 8 << 20;

/// News from other members.
pub(crate) enum PeerEvent {
    /// Raft's messages, in order.
    Messages(Vec<raftpb::Message>),
    /// Messages to this member were lost.
    Unreachable(MemberId),
    /// A member's database is here, and what raft is to be told of it.
    Snapshot(Box<Arrived>),
    /// This member's database has been sent, or not.
    SnapshotSent {
        /// To whom.
        to: MemberId,
        /// Whether it arrived.
        sent: bool,
    },
}

/// A member's database that has come whole.
pub(crate) struct Arrived {
    /// Raft's message, which it belongs to.
    pub message: raftpb::Message,
    /// What it is to be installed from.
    pub prepared: Prepared,
}

/// News, and its part of the budget, which is free again once it is dropped.
pub(crate) struct Delivery {
    /// The news.
    pub event: PeerEvent,
    _permit: Option<OwnedSemaphorePermit>,
}

/// The consensus thread's end.
pub(crate) struct Inbox {
    /// Everything but entries.
    pub quick: Receiver<Delivery>,
    /// Messages with entries.
    pub entries: Receiver<Delivery>,
}

/// The other end.
#[derive(Clone)]
pub(crate) struct InboxSender {
    quick: Slot,
    entries: Slot,
}

#[derive(Clone)]
struct Slot {
    sender: Sender<Delivery>,
    budget: Arc<Semaphore>,
    bytes_max: u32,
}

/// An empty inbox. The channels have no bound of their own: the budgets are in front of them.
#[must_use]
pub(crate) fn inbox() -> (InboxSender, Inbox) {
    let (quick, quick_receiver) = Slot::new(QUICK_BYTES_MAX);
    let (entries, entries_receiver) = Slot::new(ENTRIES_BYTES_MAX);
    (
        InboxSender { quick, entries },
        Inbox {
            quick: quick_receiver,
            entries: entries_receiver,
        },
    )
}

/// The consensus thread is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Gone;

impl InboxSender {
    /// Delivers what came over a lane, when there is room.
    pub(crate) async fn deliver(&self, frame: RaftMessages, has_entries: bool) -> Result<(), Gone> {
        let slot = if has_entries {
            &self.entries
        } else {
            &self.quick
        };
        slot.deliver(frame).await
    }

    /// Says that messages to `member` were lost.
    pub(crate) fn unreachable(&self, member: MemberId) {
        self.tell(PeerEvent::Unreachable(member));
    }

    /// Says how sending this member's database to `to` ended.
    pub(crate) fn snapshot_sent(&self, to: MemberId, sent: bool) {
        self.tell(PeerEvent::SnapshotSent { to, sent });
    }

    /// Delivers a database that has come.
    pub(crate) fn snapshot(&self, message: raftpb::Message, prepared: Prepared) {
        self.tell(PeerEvent::Snapshot(Box::new(Arrived { message, prepared })));
    }

    /// Delivers the message of a database that is not needed.
    pub(crate) fn only_message(&self, message: raftpb::Message) {
        self.tell(PeerEvent::Messages(vec![message]));
    }

    /// News outside of the budget: one a connection or a database, so there are never many.
    fn tell(&self, event: PeerEvent) {
        // A thread that is gone needs no news.
        let _ = self.quick.sender.send(Delivery {
            event,
            _permit: None,
        });
    }
}

impl Slot {
    fn new(bytes_max: u32) -> (Self, Receiver<Delivery>) {
        let (sender, receiver) = unbounded();
        let slot = Self {
            sender,
            budget: Arc::new(Semaphore::new(bytes_max as usize)),
            bytes_max,
        };
        (slot, receiver)
    }

    async fn deliver(&self, frame: RaftMessages) -> Result<(), Gone> {
        // What is larger than the whole budget waits until it is alone.
        let bytes = u32::try_from(frame.encoded_len()).unwrap_or(u32::MAX);
        let bytes = bytes.clamp(1, self.bytes_max);
        let permit = Arc::clone(&self.budget).acquire_many_owned(bytes).await;
        let delivery = Delivery {
            event: PeerEvent::Messages(frame.messages),
            _permit: permit.ok(),
        };
        self.sender.send(delivery).map_err(|_| Gone)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn frame(bytes: usize) -> RaftMessages {
        RaftMessages {
            messages: vec![raftpb::Message {
                context: Some(Bytes::from(vec![0; bytes])),
                ..raftpb::Message::default()
            }],
        }
    }

    #[tokio::test]
    async fn entries_beyond_the_budget_wait_and_heartbeats_do_not() {
        let (sender, inbox) = inbox();
        let half = ENTRIES_BYTES_MAX as usize * 2 / 3;
        sender.deliver(frame(half), true).await.unwrap();
        let blocked = sender.deliver(frame(half), true);
        let mut blocked = std::pin::pin!(blocked);
        let mut poll = tokio_test_poll(&mut blocked).await;
        assert!(poll.is_none(), "no room yet");
        sender.deliver(frame(1), false).await.unwrap();
        assert_eq!(inbox.quick.len(), 1);
        drop(inbox.entries.recv().unwrap());
        poll = Some(blocked.await);
        assert_eq!(poll, Some(Ok(())));
    }

    async fn tokio_test_poll<F: Future>(future: &mut std::pin::Pin<&mut F>) -> Option<F::Output> {
        std::future::poll_fn(|context| match future.as_mut().poll(context) {
            std::task::Poll::Ready(output) => std::task::Poll::Ready(Some(output)),
            std::task::Poll::Pending => std::task::Poll::Ready(None),
        })
        .await
    }
}
