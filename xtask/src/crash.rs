//! `cargo xtask crash`: kills a server under load, again and again, and counts what is left.
//!
//! Each round: clients write without pause, old history is compacted meanwhile, the server is
//! killed at a random moment and started again with the same flags. Then every acknowledged write
//! must be there at its revision, every revision must hold a write that somebody sent, and none
//! may be missing in between. At the end the whole history is replayed into a fresh server, which
//! must hold the same keys and the same hash.

mod ledger;
mod load;
mod store;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Args;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use tokio::sync::Mutex;
use tokio::task::JoinSet;

use self::ledger::{Ledger, Write};
use self::load::Client;
use self::store::Store;
use crate::outcome::Outcome;
use crate::server_process::{ServerCommand, ServerProcess};
use crate::workspace::Workspace;

/// A server lives so long under load before it is killed.
const LIFE_MS: std::ops::Range<u64> = 50..1500;
/// The last revisions stay uncompacted at the end, so that the hash covers some history.
const UNCOMPACTED: i64 = 20;

/// How often a server is killed, and which.
#[derive(Args, Clone, Debug)]
pub(crate) struct Crash {
    /// How often to kill it.
    #[arg(long, default_value_t = 50)]
    rounds: u64,
    /// Seed of the load and of the moments of death.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Clients that write at the same time.
    #[arg(long, default_value_t = 16)]
    clients: u32,
    /// Entries after which the server truncates its log: few, so that it happens often.
    #[arg(long, default_value_t = 200)]
    snapshot_count: u64,
    /// The server: a command line; this workspace's if not given.
    #[arg(long, value_name = "COMMAND")]
    server: Option<String>,
}

impl Crash {
    /// What every change is checked with.
    pub(crate) fn short() -> Self {
        Self {
            rounds: 6,
            seed: 1,
            clients: 4,
            snapshot_count: 200,
            server: None,
        }
    }

    pub(crate) async fn run(&self, workspace: &Workspace) -> Result<Outcome> {
        let command = match &self.server {
            Some(line) => ServerCommand::parse(line)?,
            None => ServerCommand::program(workspace.build_server()?),
        };
        let command = command.flag(format!("--snapshot-count={}", self.snapshot_count));
        let home = tempfile::tempdir().context("making a folder for the server's data")?;
        let server = command.start(&home.path().join("crashed")).await?;
        let mut trial = Trial {
            server,
            rng: SmallRng::seed_from_u64(self.seed),
            ledger: Arc::default(),
            history: Vec::new(),
            compacted: 0,
        };
        for round in 0..self.rounds {
            let survived = trial.round(self.clients, round).await;
            survived.with_context(|| {
                format!("round {}, log:\n{}", round + 1, trial.server.log_end())
            })?;
        }
        trial.compare_with_replay(&command, home.path()).await?;
        println!(
            "killed {} times: {} revisions, no acknowledged write lost, same hash after replay",
            self.rounds,
            trial.history.len()
        );
        Ok(Outcome::Passed)
    }
}

/// A server that is killed many times, and what it must still know.
struct Trial {
    server: ServerProcess,
    rng: SmallRng,
    ledger: Arc<Mutex<Ledger>>,
    /// The writes of all revisions that were checked, from the first one on.
    history: Vec<Write>,
    /// The highest revision that was to be compacted.
    compacted: i64,
}

impl Trial {
    async fn round(&mut self, clients: u32, round: u64) -> Result<()> {
        let channel = self.server.channel()?;
        let mut running = JoinSet::new();
        for number in 0..clients {
            let client = Client::new(channel.clone(), number, round + 1);
            running.spawn(client.run(Arc::clone(&self.ledger)));
        }
        let life = Duration::from_millis(self.rng.random_range(LIFE_MS));
        self.compact_meanwhile().await?;
        tokio::time::sleep(life).await;
        self.server.kill();
        while let Some(ended) = running.join_next().await {
            ended??;
        }
        self.server.restart().await?;
        self.check().await
    }

    /// Compacts what was checked already, now and then.
    async fn compact_meanwhile(&mut self) -> Result<()> {
        let checked = self.revision();
        if checked <= self.compacted + 1 || self.rng.random_bool(0.5) {
            return Ok(());
        }
        self.compacted = self.rng.random_range(self.compacted + 1..checked);
        let mut store = Store::of(&self.server)?;
        store.compact(self.compacted, false).await
    }

    /// The last revision that was checked.
    fn revision(&self) -> i64 {
        i64::try_from(self.history.len()).unwrap_or(i64::MAX) + 1
    }

    async fn check(&mut self) -> Result<()> {
        let mut store = Store::of(&self.server)?;
        let before = self.revision();
        let (_, now) = store.keys().await?;
        if now < before {
            bail!("the revision went back from {before} to {now}");
        }
        let found = store.history(before + 1, now).await?;
        let mut ledger = self.ledger.lock().await;
        for (revision, write) in (before + 1..).zip(&found) {
            ledger.settle(revision, write)?;
        }
        ledger.close()?;
        self.history.extend(found);
        Ok(())
    }

    async fn compare_with_replay(&mut self, command: &ServerCommand, home: &Path) -> Result<()> {
        let fresh = command.start(&home.join("replayed")).await?;
        let (mut crashed, mut replayed) = (Store::of(&self.server)?, Store::of(&fresh)?);
        for write in &self.history {
            replayed.replay(write).await?;
        }
        let compact_at = (self.revision() - UNCOMPACTED).max(self.compacted + 1);
        for store in [&mut crashed, &mut replayed] {
            store.compact(compact_at, true).await?;
        }
        if crashed.keys().await? != replayed.keys().await? {
            bail!("after a replay of the same history other keys are there");
        }
        let (hash, other) = (crashed.hash().await?, replayed.hash().await?);
        if hash != other {
            bail!("hash and revision are {hash:?}, and {other:?} after a replay");
        }
        Ok(())
    }
}
