//! Restarting: how long a server with many keys takes to answer its first linearizable read.

use std::path::Path;
use std::time::Duration;

use anyhow::{Result, ensure};
use serde::{Deserialize, Serialize};

use crate::cluster::Member;
use crate::load::{Limit, LoadPlan};
use crate::probe;
use crate::progress::Progress;
use crate::running_server::Ending;
use crate::scenario::{Fill, fill};
use crate::server_command::ServerCommand;
use crate::server_process::Usage;
use crate::target::Target;

/// The longest that filling may take.
const FILL_MAX: Duration = Duration::from_secs(1800);

/// Loads keys, then ends and starts the server several times.
#[derive(Clone, Debug)]
pub struct Restart {
    /// The server.
    pub command: ServerCommand,
    /// What is loaded.
    pub fill: Fill,
    /// How it ends.
    pub ending: Ending,
    /// How many restarts are timed.
    pub restarts: u32,
}

/// What a restart took.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RestartTimes {
    /// Keys loaded.
    pub keys: u64,
    /// Seconds from start to the first linearizable read, for each restart.
    pub ready_seconds: Vec<f64>,
    /// Use of the machine just after loading.
    pub loaded: Usage,
    /// Use of the machine just after the last restart.
    pub restarted: Usage,
}

impl RestartTimes {
    /// The median of the restarts.
    #[must_use]
    pub fn median_seconds(&self) -> f64 {
        crate::median::median(&self.ready_seconds).unwrap_or(0.0)
    }
}

impl Restart {
    /// Runs it with the data under `home`.
    ///
    /// # Errors
    ///
    /// If the server does not start, does not take the keys, or has lost some after a restart.
    pub fn run(&self, home: &Path, progress: Progress) -> Result<RestartTimes> {
        let mut server = Member::alone(&self.command, home)?.start()?;
        let plan = LoadPlan {
            target: Target::one(server.endpoint()),
            threads: 1,
            connections: 8,
            clients: 1000,
            rate: None,
            limit: Limit::Count {
                requests: 0,
                deadline: FILL_MAX,
            },
        };
        fill(&plan, &self.fill, FILL_MAX, progress)?;
        let loaded = server.process().usage()?;
        let mut ready_seconds = Vec::new();
        for _ in 0..self.restarts.max(1) {
            server = server.restart(self.ending)?;
            ready_seconds.push(server.ready_after().as_secs_f64());
            let there = probe::count(server.endpoint(), &self.fill.keys)?;
            ensure!(
                there == self.fill.keys.count(),
                "{there} keys are left after a restart"
            );
        }
        let restarted = server.process().usage()?;
        server.stop()?;
        Ok(RestartTimes {
            keys: self.fill.keys.count(),
            ready_seconds,
            loaded,
            restarted,
        })
    }
}
