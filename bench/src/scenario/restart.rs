//! Restarting: how long a server with many keys takes to answer its first linearizable read.

use std::num::NonZeroU16;
use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::key_space::KeySpace;
use crate::load::{Limit, LoadPlan};
use crate::probe;
use crate::progress::Progress;
use crate::scenario::{Fill, fill};
use crate::server_command::{RunningServer, ServerCommand};
use crate::server_process::Usage;

/// The longest that filling may take.
const FILL_MAX: Duration = Duration::from_secs(1800);

/// How a server ends before it is started again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Ending {
    /// Asked to (SIGTERM).
    Term,
    /// Killed (SIGKILL).
    Kill,
}

/// Loads keys, then ends and starts the server several times.
#[derive(Clone, Debug)]
pub struct Restart {
    /// The server.
    pub command: ServerCommand,
    /// What is loaded.
    pub keys: KeySpace,
    /// Bytes of each value.
    pub value_len: usize,
    /// Keys in one request while loading.
    pub batch: NonZeroU16,
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
    pub fn run(&self, home: &Path, progress: &Progress) -> Result<RestartTimes> {
        let mut server = self.load(home, progress)?;
        let loaded = server.process().usage()?;
        let mut ready_seconds = Vec::new();
        for _ in 0..self.restarts.max(1) {
            server = self.again(server, home)?;
            ready_seconds.push(server.ready_after().as_secs_f64());
        }
        let restarted = server.process().usage()?;
        Ok(RestartTimes {
            keys: self.keys.count(),
            ready_seconds,
            loaded,
            restarted,
        })
    }

    /// Starts the server and loads the keys.
    ///
    /// # Errors
    ///
    /// As [`Restart::run`].
    pub fn load(&self, home: &Path, progress: &Progress) -> Result<RunningServer> {
        let server = self.command.start(home)?;
        let plan = LoadPlan {
            endpoint: server.endpoint(),
            threads: 1,
            connections: 8,
            clients: 1000,
            rate: None,
            limit: Limit::Count {
                requests: 0,
                deadline: FILL_MAX,
            },
            server: Some(server.process()),
        };
        let Self {
            keys,
            value_len,
            batch,
            ..
        } = self.clone();
        fill(
            &plan,
            &Fill {
                keys,
                value_len,
                batch,
            },
            FILL_MAX,
            progress,
        )?;
        Ok(server)
    }

    /// Ends the server, starts it again, and makes sure that it lost nothing.
    ///
    /// # Errors
    ///
    /// As [`Restart::run`].
    pub fn again(&self, server: RunningServer, home: &Path) -> Result<RunningServer> {
        match self.ending {
            Ending::Term => server.stop()?,
            Ending::Kill => server.kill()?,
        }
        let server = self.command.start(home)?;
        let there = probe::count(server.endpoint(), &self.keys)?;
        anyhow::ensure!(
            there == self.keys.count(),
            "{there} keys are left after a restart"
        );
        Ok(server)
    }
}
