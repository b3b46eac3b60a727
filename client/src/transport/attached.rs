//! Futures that are polled in the task of their connection.
//!
//! What a stream's reader waits for is brought by that task. A reader in a task of its own costs one more
//! wake-up for each message; here it is polled right after the socket was read.

use std::future::{Future, poll_fn};
use std::task::{Context, Poll};

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;

use crate::unfold::BoxFuture;

/// Gives futures to the task of a connection.
#[derive(Clone)]
pub(crate) struct Attacher(UnboundedSender<BoxFuture<()>>);

/// The futures of one connection's task.
pub(super) struct Attached {
    coming: UnboundedReceiver<BoxFuture<()>>,
    running: Vec<BoxFuture<()>>,
}

pub(super) fn attached() -> (Attacher, Attached) {
    let (sender, coming) = unbounded_channel();
    let running = Vec::new();
    (Attacher(sender), Attached { coming, running })
}

impl Attacher {
    /// Runs a future in the task of the connection, which waits while it is polled; goes on with it when the
    /// connection is lost. `None` if the runtime ends that task.
    pub(crate) async fn run<F>(&self, future: F) -> Option<F::Output>
    where
        F: Future<Output: Send + 'static> + Send + 'static,
    {
        let (sender, ended) = oneshot::channel();
        let run = async move {
            // Who waited may have given up.
            let _ = sender.send(future.await);
        };
        if let Err(refused) = self.0.send(Box::pin(run)) {
            // The connection is lost already.
            refused.0.await;
        }
        ended.await.ok()
    }
}

impl Attached {
    /// Polls all of them.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) {
        while let Poll::Ready(Some(future)) = self.coming.poll_recv(cx) {
            self.running.push(future);
        }
        self.running
            .retain_mut(|future| future.as_mut().poll(cx).is_pending());
    }

    /// Runs them to their ends; they learn from their streams that the connection is lost.
    pub(super) async fn finish(mut self) {
        self.coming.close();
        poll_fn(|cx| {
            self.poll(cx);
            if self.running.is_empty() {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
        .await;
    }
}
