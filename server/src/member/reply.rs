//! Answers on their way back from the apply thread to the threads that wait for them.
//!
//! Waking a task of another thread costs a lock and a system call. A batch of entries answers many
//! tasks of few threads at once, so their answers travel together: one message a thread, whose desk
//! hands them out there, where waking a task costs nothing.

use std::cell::Cell;
use std::future::Future;

use tokio::sync::{mpsc, oneshot};

use crate::member::error::Error;
use cairn_replica::apply::Outcome;

/// What a request is answered.
pub(super) type Answer = Result<Outcome, Error>;

thread_local! {
    /// The desk of this thread, if it has one.
    static DESK: Cell<Option<usize>> = const { Cell::new(None) };
}

/// Where one request's answer goes.
#[derive(Debug)]
pub(crate) struct Reply {
    sender: oneshot::Sender<Answer>,
    desk: Option<usize>,
}

impl Reply {
    /// A way back to the calling thread.
    pub(crate) fn channel() -> (Self, oneshot::Receiver<Answer>) {
        let (sender, receiver) = oneshot::channel();
        (
            Self {
                sender,
                desk: DESK.get(),
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

/// Answers that leave for one desk together.
type Bundle = Vec<(oneshot::Sender<Answer>, Answer)>;

/// The ways to all desks.
pub(crate) struct ReplyDesks {
    desks: Vec<(mpsc::UnboundedSender<Bundle>, Bundle)>,
}

impl ReplyDesks {
    /// `count` desks: the ways to them, and the tasks that must run one on each thread.
    ///
    /// The queues have no bound of their own: what is in them are answers to requests under way,
    /// which are bounded.
    pub(crate) fn new(count: usize) -> (Self, Vec<impl Future<Output = ()> + Send + use<>>) {
        let (desks, tasks) = (0..count)
            .map(|number| {
                let (sender, bundles) = mpsc::unbounded_channel();
                ((sender, Bundle::new()), hand_out(number, bundles))
            })
            .unzip();
        (Self { desks }, tasks)
    }

    /// Adds an answer to what leaves with the next [`Self::send`].
    pub(crate) fn add(&mut self, reply: Reply, answer: Answer) {
        match reply.desk.and_then(|desk| self.desks.get_mut(desk)) {
            Some((_, bundle)) => bundle.push((reply.sender, answer)),
            None => reply.send(answer),
        }
    }

    /// Sends what was added.
    pub(crate) fn send(&mut self) {
        for (desk, bundle) in &mut self.desks {
            if !bundle.is_empty() {
                // A desk is gone when its thread is, and with it all who waited there.
                let _ = desk.send(std::mem::take(bundle));
            }
        }
    }
}

/// The task of desk `number`.
async fn hand_out(number: usize, mut bundles: mpsc::UnboundedReceiver<Bundle>) {
    DESK.set(Some(number));
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
    async fn answers_come_back_through_the_desk_of_the_thread_that_asked() {
        let (mut desks, tasks) = ReplyDesks::new(1);
        for task in tasks {
            tokio::spawn(task);
        }
        tokio::task::yield_now().await;
        let (reply, answer) = Reply::channel();
        assert_eq!(reply.desk, Some(0));
        desks.add(reply, Ok(Outcome::Done));
        let (gone, _) = Reply::channel();
        assert!(gone.is_closed());
        desks.add(gone, Ok(Outcome::Done));
        desks.send();
        assert!(matches!(answer.await, Ok(Ok(Outcome::Done))));
    }

    #[tokio::test]
    async fn a_thread_without_a_desk_is_answered_at_once() {
        let (mut desks, _) = ReplyDesks::new(0);
        let (reply, answer) = Reply::channel();
        desks.add(reply, Ok(Outcome::Done));
        assert!(matches!(answer.await, Ok(Ok(Outcome::Done))));
    }
}
