//! The thread that commits in the background: this crate's only clock.

use std::io;
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use crate::backend::{Backend, CommitHook};
use crate::error::Uncommitted;
use crate::signal::{Signal, Wake};

/// The running committer; when it is dropped, it commits once more and ends.
///
/// A commit that fails poisons the backend, which tells its hook; the thread then ends. One that
/// finds no space is tried again.
#[derive(Debug)]
pub struct Committer {
    signal: Arc<Signal>,
    thread: Option<JoinHandle<()>>,
}

impl Committer {
    pub(crate) fn spawn(
        backend: Backend,
        signal: Arc<Signal>,
        interval: Duration,
        on_commit: Option<CommitHook>,
    ) -> io::Result<Self> {
        signal.reset();
        let waits = Arc::clone(&signal);
        let run = move || {
            loop {
                let wake = waits.wait(interval);
                let begun = now();
                match backend.commit_pending() {
                    Ok(true) => on_commit.iter().for_each(|hook| hook(begun.elapsed())),
                    // Without space: again after the next interval.
                    Ok(false) | Err(Uncommitted::NoSpace { .. }) => {}
                    Err(Uncommitted::Poisoned(_)) => return,
                }
                if wake == Wake::Stop {
                    return;
                }
            }
        };
        let thread = Builder::new().name("cairn-commit".to_owned()).spawn(run)?;
        Ok(Self {
            signal,
            thread: Some(thread),
        })
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the thread measures its own commits"
)]
fn now() -> Instant {
    Instant::now()
}

impl Drop for Committer {
    fn drop(&mut self) {
        self.signal.stop();
        if let Some(thread) = self.thread.take() {
            // A panic in the thread has been reported by the panic hook; there is no one else
            // to tell while a handle is dropped.
            let _ = thread.join();
        }
    }
}
