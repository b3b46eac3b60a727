//! One of the two servers of a benchmark, or one of the two clusters, and what was measured on it.

use std::path::Path;

use anyhow::{Context, Result};

use crate::cluster::Cluster;
use crate::compare::quantity::Quantity;
use crate::endpoint::Endpoint;
use crate::server_command::ServerCommand;
use crate::server_process::Usage;

/// Values by quantity, in the order in which they were measured.
pub(super) type Samples = Vec<(Quantity, f64)>;

/// Running members and their samples.
#[derive(Debug)]
pub(super) struct Side {
    pub(super) cluster: Cluster,
    samples: Samples,
}

impl Side {
    pub(super) fn start(command: &ServerCommand, home: &Path, members: usize) -> Result<Self> {
        Ok(Self {
            cluster: Cluster::start(command, home, members)?,
            samples: Samples::new(),
        })
    }

    pub(super) fn add(&mut self, quantity: Quantity, value: f64) {
        self.samples.push((quantity, value));
    }

    /// The first member's, which is the only one's in most benchmarks.
    pub(super) fn endpoint(&self) -> Result<Endpoint> {
        self.cluster.endpoint(0)
    }

    /// What all members use.
    pub(super) fn usage(&self) -> Result<Usage> {
        Usage::of_all(&self.cluster.processes())?.context("the server is gone")
    }

    /// Ends and starts the members; returns the seconds until all have answered.
    pub(super) fn restart(&mut self) -> Result<f64> {
        Ok(self.cluster.restart()?.as_secs_f64())
    }

    /// Ends the members and returns what was measured.
    pub(super) fn stop(mut self) -> Result<Samples> {
        self.cluster.stop()?;
        Ok(self.samples)
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
