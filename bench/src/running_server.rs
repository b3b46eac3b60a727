//! A server that we started, from its start to its end.

use std::process::Child;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use clap::ValueEnum;

use crate::cluster::Member;
use crate::endpoint::Endpoint;
use crate::interrupt;
use crate::probe;
use crate::server_process::ServerProcess;

/// How long a server may take to answer its first read.
const READY_MAX: Duration = Duration::from_secs(300);
/// How long a server may take to end when asked.
const END_MAX: Duration = Duration::from_secs(60);

/// A server that we started; killed when dropped.
#[derive(Debug)]
pub struct RunningServer {
    child: Child,
    member: Member,
    started: Instant,
    ready_after: Duration,
}

/// How a server ends before it is started again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Ending {
    /// Asked to (SIGTERM).
    Term,
    /// Killed (SIGKILL).
    Kill,
}

impl RunningServer {
    pub(crate) fn new(child: Child, member: Member, started: Instant) -> Self {
        interrupt::running().insert(child.id());
        Self {
            child,
            member,
            started,
            ready_after: Duration::ZERO,
        }
    }

    /// Where it listens.
    #[must_use]
    pub fn endpoint(&self) -> Endpoint {
        self.member.client()
    }

    /// Its process.
    #[must_use]
    pub fn process(&self) -> ServerProcess {
        ServerProcess::with_pid(self.child.id())
    }

    /// When its process was started.
    #[must_use]
    pub fn started(&self) -> Instant {
        self.started
    }

    /// The time from its start to its first answer; zero before [`RunningServer::wait_until_ready`].
    #[must_use]
    pub fn ready_after(&self) -> Duration {
        self.ready_after
    }

    /// Ends it and starts it again with the same data and addresses, until it answers.
    ///
    /// # Errors
    ///
    /// As [`Member::start`], and if it does not end.
    pub fn restart(self, ending: Ending) -> Result<Self> {
        let member = self.member.clone();
        match ending {
            Ending::Term => self.stop()?,
            Ending::Kill => self.kill()?,
        }
        member.start()
    }

    /// Asks it to end and waits until it has.
    ///
    /// # Errors
    ///
    /// If it does not end; it is then killed.
    pub fn stop(self) -> Result<()> {
        self.process().terminate()?;
        self.wait_until_ended()
    }

    /// Waits for the end of a server that was asked to end.
    pub(crate) fn wait_until_ended(mut self) -> Result<()> {
        let deadline = Instant::now() + END_MAX;
        while Instant::now() < deadline {
            if self.child.try_wait()?.is_some() {
                return self.reap();
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        bail!(
            "the server did not end within {END_MAX:?}, see {}",
            self.member.log().display()
        )
    }

    /// Kills it without a word (SIGKILL).
    ///
    /// # Errors
    ///
    /// If it cannot be killed.
    pub fn kill(mut self) -> Result<()> {
        self.child.kill()?;
        self.reap()
    }

    /// Waits for the end of a process that was killed, or has ended; its id is then anyone's.
    fn reap(&mut self) -> Result<()> {
        interrupt::running().remove(&self.child.id());
        self.child.wait()?;
        Ok(())
    }

    /// Waits until it answers a linearizable read.
    ///
    /// # Errors
    ///
    /// If it ends, or does not answer in time; the error names the log.
    pub fn wait_until_ready(&mut self) -> Result<()> {
        let slice = Duration::from_secs(1);
        let deadline = Instant::now() + READY_MAX;
        loop {
            let error = match probe::wait_until_ready(self.endpoint(), slice) {
                Ok(()) => {
                    self.ready_after = self.started.elapsed();
                    return Ok(());
                }
                Err(error) => error,
            };
            if let Some(status) = self.child.try_wait()? {
                bail!(
                    "the server ended with {status}, see {}",
                    self.member.log().display()
                );
            }
            if Instant::now() >= deadline {
                return Err(error.context(format!("see {}", self.member.log().display())));
            }
        }
    }
}

impl Drop for RunningServer {
    fn drop(&mut self) {
        // It may have ended already; nothing more can be done in any case.
        drop(self.child.kill());
        drop(self.reap());
    }
}
