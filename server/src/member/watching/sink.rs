//! A stream's queue of replies, and its two ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};

use cairn_watch::{Full, ReplyKind, Sink, SinkBudget, WatchReply};
use tokio::sync::mpsc;

use super::waking::StreamWaker;

/// The hub's end of a stream's queue. The queue has no bound of its own: the budget is the bound, in
/// replies and in bytes, and answers to a client's own requests are bounded by the stream's task,
/// which reads no request while too many answers wait.
#[derive(Debug)]
pub(super) struct QueueSink {
    pub(super) replies: mpsc::UnboundedSender<WatchReply>,
    pub(super) budget: Arc<SinkBudget>,
    /// Events that wait in the queues of all streams.
    pub(super) pending: Arc<AtomicUsize>,
}

impl QueueSink {
    fn send(&self, reply: WatchReply) {
        let events = events(&reply);
        self.pending.fetch_add(events, Ordering::Relaxed);
        // A stream that is gone is closed by its task's last message.
        if self.replies.send(reply).is_err() {
            self.pending.fetch_sub(events, Ordering::Relaxed);
        }
    }
}

/// The stream's end.
pub(super) struct Queue {
    replies: mpsc::UnboundedReceiver<WatchReply>,
    pending: Arc<AtomicUsize>,
    task: Arc<StreamWaker>,
    /// The same.
    waker: Waker,
}

impl Queue {
    /// The end of a stream of this thread.
    pub(super) fn new(
        replies: mpsc::UnboundedReceiver<WatchReply>,
        pending: Arc<AtomicUsize>,
    ) -> Self {
        let task = StreamWaker::here();
        Self {
            replies,
            pending,
            waker: Waker::from(Arc::clone(&task)),
            task,
        }
    }

    /// The next reply; none when the stream has ended.
    pub(super) fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<WatchReply>> {
        self.task.register(context.waker());
        let mut context = Context::from_waker(&self.waker);
        let reply = std::task::ready!(self.replies.poll_recv(&mut context));
        if let Some(reply) = &reply {
            self.pending.fetch_sub(events(reply), Ordering::Relaxed);
        }
        Poll::Ready(reply)
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        self.replies.close();
        while let Ok(reply) = self.replies.try_recv() {
            self.pending.fetch_sub(events(&reply), Ordering::Relaxed);
        }
    }
}

fn events(reply: &WatchReply) -> usize {
    match &reply.kind {
        ReplyKind::Events { events, .. } => events.len(),
        _ => 0,
    }
}

impl Sink for QueueSink {
    fn try_send(&mut self, reply: WatchReply) -> Result<(), Full> {
        self.budget.take(&reply)?;
        self.send(reply);
        Ok(())
    }

    fn answer(&mut self, reply: WatchReply) {
        self.budget.take_regardless(&reply);
        self.send(reply);
    }

    fn has_room(&self) -> bool {
        self.budget.has_room()
    }
}
