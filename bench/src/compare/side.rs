//! One of the two servers of a contest, and what was measured on it.

use std::path::Path;

use anyhow::{Context, Result};

use crate::compare::quantity::Quantity;
use crate::endpoint::Endpoint;
use crate::server_command::{Ending, RunningServer, ServerCommand};
use crate::server_process::ServerProcess;

/// Values by quantity, in the order in which they were measured.
pub(super) type Samples = Vec<(Quantity, f64)>;

/// A running server and its samples.
#[derive(Debug)]
pub(super) struct Side {
    /// `None` only within [`Side::restart`], or after a restart that failed.
    server: Option<RunningServer>,
    samples: Samples,
}

impl Side {
    pub(super) fn start(command: &ServerCommand, home: &Path) -> Result<Self> {
        Ok(Self {
            server: Some(command.start(home)?),
            samples: Samples::new(),
        })
    }

    pub(super) fn add(&mut self, quantity: Quantity, value: f64) {
        self.samples.push((quantity, value));
    }

    pub(super) fn endpoint(&self) -> Result<Endpoint> {
        Ok(self.running()?.endpoint())
    }

    pub(super) fn process(&self) -> Result<ServerProcess> {
        Ok(self.running()?.process())
    }

    pub(super) fn home(&self) -> Result<&Path> {
        Ok(self.running()?.home())
    }

    /// Ends and starts the server; returns the seconds until it answered.
    pub(super) fn restart(&mut self) -> Result<f64> {
        let server = self
            .server
            .take()
            .context("the server is gone")?
            .restart(Ending::Term)?;
        let seconds = server.ready_after().as_secs_f64();
        self.server = Some(server);
        Ok(seconds)
    }

    /// Ends the server and returns what was measured.
    pub(super) fn stop(self) -> Result<Samples> {
        self.server.context("the server is gone")?.stop()?;
        Ok(self.samples)
    }

    fn running(&self) -> Result<&RunningServer> {
        self.server.as_ref().context("the server is gone")
    }
}

/// What the two servers are called: their programs' names, told apart if they are the same.
pub(super) fn names(commands: &[ServerCommand; 2]) -> [String; 2] {
    let [a, b] = commands.each_ref().map(ServerCommand::program_name);
    if a == b {
        [format!("{a} (A)"), format!("{b} (B)")]
    } else {
        [a, b]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_programs_are_told_apart() {
        let parse = |line| ServerCommand::parse(line).unwrap();
        assert_eq!(
            names(&[parse("/usr/bin/etcd"), parse("/opt/etcd")]),
            ["etcd (A)", "etcd (B)"]
        );
        assert_eq!(
            names(&[parse("x/cairn"), parse("etcd -v")]),
            ["cairn", "etcd"]
        );
    }
}
