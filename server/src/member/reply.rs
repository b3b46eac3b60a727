//! Answers on their way back from the apply thread to the threads that wait for them.
//!
//! Waking a task of another thread costs a lock and a system call. A batch of entries answers many
//! tasks of few threads at once, so their answers travel together: one message a thread, whose queue
//! hands them out there, where waking a task costs nothing.

use std::cell::Cell;
use std::future::Future;

use tokio::sync::{mpsc, oneshot};

use crate::member::error::Error;
use cairn_replica::apply::Outcome;

/// What a request is answered.
pub(super) type Answer = Result<Outcome, Error>;

thread_local! {
    /// The queue of this thread, if it has one.
    static QUEUE: Cell<Option<usize>> = const { Cell::new(None) };
}

/// Where one request's answer goes.
#[derive(Debug)]
pub(crate) struct Reply {
    sender: oneshot::Sender<Answer>,
    queue: Option<usize>,
}

impl Reply {
    /// A way back to the calling thread.
    pub(crate) fn channel() -> (Self, oneshot::Receiver<Answer>) {
        let (sender, receiver) = oneshot::channel();
        (
            Self {
                sender,
                queue: QUEUE.get(),
            },
            receiver,
        )
    }

    /// Answers at once. Nothing happens if nobody waits any more.
    pub(crate) fn send(self, answer: Answer) {
        let _ = self.sender.send(answer);
    }

    /// Whether nobody waits any more.
    pub(crate) fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }
}

/// Answers that leave for one queue together.
type Bundle = Vec<(oneshot::Sender<Answer>, Answer)>;

/// The ways to all queues.
pub(crate) struct ReplyQueues {
    queues: Vec<(mpsc::UnboundedSender<Bundle>, Bundle)>,
}

impl ReplyQueues {
    /// `count` queues: the ways to them, and the tasks that must run one on each thread.
    ///
    /// The queues have no bound of their own: what is in them are answers to requests under way,
    /// which are bounded.
    pub(crate) fn new(count: usize) -> (Self, Vec<impl Future<Output = ()> + Send + use<>>) {
        let (queues, tasks) = (0..count)
            .map(|number| {
                let (sender, bundles) = mpsc::unbounded_channel();
                ((sender, Bundle::new()), hand_out(number, bundles))
            })
            .unzip();
        (Self { queues }, tasks)
    }

    /// Adds an answer to what leaves with the next [`Self::send`].
    pub(crate) fn add(&mut self, reply: Reply, answer: Answer) {
        match reply.queue.and_then(|queue| self.queues.get_mut(queue)) {
            Some((_, bundle)) => bundle.push((reply.sender, answer)),
            None => reply.send(answer),
        }
    }

    /// Sends what was added.
    pub(crate) fn send(&mut self) {
        for (queue, bundle) in &mut self.queues {
            if !bundle.is_empty() {
                // A queue is gone when its thread is, and with it all who waited there.
                let _ = queue.send(std::mem::take(bundle));
            }
        }
    }
}

/// The task of queue `number`.
async fn hand_out(number: usize, mut bundles: mpsc::UnboundedReceiver<Bundle>) {
    QUEUE.set(Some(number));
    while let Some(bundle) = bundles.recv().await {
        for (sender, answer) in bundle {
            let _ = sender.send(answer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn answers_come_back_through_the_queue_of_the_thread_that_asked() {
        let (mut queues, tasks) = ReplyQueues::new(1);
        for task in tasks {
            tokio::spawn(task);
        }
        tokio::task::yield_now().await;
        let (reply, answer) = Reply::channel();
        assert_eq!(reply.queue, Some(0));
        queues.add(reply, Ok(Outcome::Done));
        let (gone, _) = Reply::channel();
        assert!(gone.is_closed());
        queues.add(gone, Ok(Outcome::Done));
        queues.send();
        assert!(matches!(answer.await, Ok(Ok(Outcome::Done))));
    }

    #[tokio::test]
    async fn a_thread_without_a_queue_is_answered_at_once() {
        let (mut queues, _) = ReplyQueues::new(0);
        let (reply, answer) = Reply::channel();
        queues.add(reply, Ok(Outcome::Done));
        assert!(matches!(answer.await, Ok(Ok(Outcome::Done))));
    }
}
