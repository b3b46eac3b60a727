//! A stream's queue of replies: the hub's end.

use std::sync::Arc;

use cairn_watch::{Full, Sink, SinkBudget, WatchReply};
use tokio::sync::mpsc;

/// The hub's end of a stream's queue. The queue has no bound of its own: the budget is the bound, in
/// replies and in bytes, and answers to a client's own requests are bounded by the stream's task,
/// which reads no request while too many answers wait.
#[derive(Debug)]
pub(super) struct QueueSink {
    pub(super) replies: mpsc::UnboundedSender<WatchReply>,
    pub(super) budget: Arc<SinkBudget>,
}

impl Sink for QueueSink {
    fn try_send(&mut self, reply: WatchReply) -> Result<(), Full> {
        self.budget.take(&reply)?;
        // A stream that is gone is closed by its task's last message.
        let _ = self.replies.send(reply);
        Ok(())
    }

    fn answer(&mut self, reply: WatchReply) {
        self.budget.take_regardless(&reply);
        let _ = self.replies.send(reply);
    }

    fn has_room(&self) -> bool {
        self.budget.has_room()
    }
}
