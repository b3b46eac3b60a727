//! The thread that commits in the background: the only thread of this crate, and its only clock.

use std::io;
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use crate::backend::Backend;
use crate::signal::{Signal, Wake};

/// The running committer; when it is dropped, it commits once more and ends.
///
/// A commit that fails poisons the backend, which tells its hook; the thread then ends.
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
    ) -> io::Result<Self> {
        let waits = Arc::clone(&signal);
        let thread = Builder::new()
            .name("cairn-commit".to_owned())
            .spawn(move || {
                loop {
                    let wake = waits.wait(interval);
                    if backend.commit().is_err() || wake == Wake::Stop {
                        return;
                    }
                }
            })?;
        Ok(Self {
            signal,
            thread: Some(thread),
        })
    }
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
