//! A client's watch stream: what it asks, and what it is told.

use std::sync::Arc;
use std::task::{Context, Poll};

use cairn_watch::{SinkBudget, StreamId, WatchId, WatchRefusal, WatchReply, WatchRequest};
use tokio::sync::oneshot;

use super::dispatcher::{Request, WatchHandle};
use super::sink::Queue;

/// Opens the two halves of a stream. The stream ends when either is dropped.
pub(super) fn open(
    id: StreamId,
    queue: Queue,
    budget: Arc<SinkBudget>,
    dispatcher: WatchHandle,
) -> (WatchAsks, WatchReplies) {
    let (listening, gone) = oneshot::channel();
    let asks = WatchAsks {
        id,
        budget: Arc::clone(&budget),
        dispatcher,
        gone,
    };
    (
        asks,
        WatchReplies {
            queue,
            budget,
            _listening: listening,
        },
    )
}

/// The half that asks. Dropping it ends all watchers of the stream.
pub(crate) struct WatchAsks {
    id: StreamId,
    budget: Arc<SinkBudget>,
    dispatcher: WatchHandle,
    gone: oneshot::Receiver<()>,
}

/// The half that is told.
pub(crate) struct WatchReplies {
    queue: Queue,
    budget: Arc<SinkBudget>,
    _listening: oneshot::Sender<()>,
}

impl WatchReplies {
    /// The next reply; none when the stream has ended.
    pub(crate) fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<WatchReply>> {
        self.queue
            .poll_next(context)
            .map(|reply| reply.inspect(|reply| self.budget.give_back(reply)))
    }
}

impl WatchAsks {
    /// Waits until nobody listens any more.
    pub(crate) async fn gone(&mut self) {
        let _ = (&mut self.gone).await;
    }

    /// Whether enough replies have left for another request to be read.
    pub(crate) fn may_ask(&self) -> bool {
        self.budget.has_room()
    }

    /// Asks for a watcher.
    pub(crate) async fn create(&self, request: WatchRequest) {
        self.dispatcher
            .send(Request::Create(self.id, Box::new(request)))
            .await;
    }

    /// Tells the client that a watcher is not created.
    pub(crate) async fn refuse(&self, refusal: WatchRefusal) {
        self.dispatcher
            .send(Request::Refuse(self.id, refusal))
            .await;
    }

    /// Ends a watcher.
    pub(crate) async fn cancel(&self, watch: WatchId) {
        self.dispatcher.send(Request::Cancel(self.id, watch)).await;
    }

    /// Asks how far the stream is.
    pub(crate) async fn request_progress(&self) {
        self.dispatcher.send(Request::Progress(self.id)).await;
    }

    /// Ends an interval of periodic progress.
    pub(crate) async fn progress_tick(&self) {
        self.dispatcher.send(Request::ProgressTick(self.id)).await;
    }
}

impl Drop for WatchAsks {
    fn drop(&mut self) {
        self.dispatcher.close(self.id);
    }
}
