//! A member inside another program, for tests of what stands on it.
//!
//! It is the member that a process of its own would be, but for three things: it takes no signals, it
//! logs to whatever `tracing` subscriber the program has, and it ends when it is dropped. A member
//! that can no longer trust what it holds stops the process, this way too.

use std::io;
use std::sync::mpsc;
use std::thread::{self, JoinHandle};

use tokio::sync::oneshot;

use super::{Server, StartError};
use crate::settings::{self, Invocation};

/// A member that serves until it is dropped.
#[derive(Debug)]
pub struct Embedded {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Embedded {
    /// Starts a member with these flags of the command line, and returns once it serves.
    ///
    /// # Errors
    ///
    /// What the process would say when it does not start: flags that cannot be, or data.
    pub fn start<I>(flags: I) -> Result<Self, StartError>
    where
        I: IntoIterator,
        I::Item: Into<String>,
    {
        let flags: Vec<String> = flags.into_iter().map(Into::into).collect();
        let (stop, stopped) = oneshot::channel();
        let (ready, serves) = mpsc::channel();
        let thread = thread::Builder::new()
            .name("embedded".to_owned())
            .spawn(move || serve(&flags, &ready, stopped))?;
        let member = Self {
            stop: Some(stop),
            thread: Some(thread),
        };
        let started = serves.recv();
        started.map_err(|_| io::Error::other("the member's thread is gone"))??;
        Ok(member)
    }
}

impl Drop for Embedded {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // If it panicked, the panic has been told.
            let _ = thread.join();
        }
    }
}

/// Runs a member until it is told to stop, on a thread of its own: a caller may be within a runtime.
fn serve(
    flags: &[String],
    ready: &mpsc::Sender<Result<(), StartError>>,
    stopped: oneshot::Receiver<()>,
) {
    let started = start(flags);
    match started {
        Ok((server, runtime)) => {
            let _ = ready.send(Ok(()));
            // Dropped or used, it ends.
            let _ = runtime.block_on(stopped);
            server.stop();
        }
        Err(error) => {
            let _ = ready.send(Err(error));
        }
    }
}

fn start(flags: &[String]) -> Result<(Server, tokio::runtime::Runtime), StartError> {
    let no_file = |path: &str| Err(io::Error::other(format!("{path} is not read here")));
    let settings = match settings::read(flags, &[], no_file)? {
        Invocation::Serve(settings) => settings,
        Invocation::Print(_) => return Err("these flags start no member".into()),
    };
    let server = Server::start(&settings)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    match runtime.block_on(server.publish(&settings)) {
        Ok(()) => Ok((server, runtime)),
        Err(error) => {
            server.stop();
            Err(error)
        }
    }
}
