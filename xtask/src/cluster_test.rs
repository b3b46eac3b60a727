//! `cargo xtask cluster-test`: a real cluster under load and in trouble, and a check of all that its
//! clients saw.
//!
//! Clients read and write at all members, watchers watch, while members are killed, stopped, cut off
//! and replaced. Then all is healed, every member is read, and the history is checked as
//! `docs/TESTING.md` says. It runs any server that takes etcd's flags.

mod call;
mod cluster;
mod endpoints;
mod load;
mod member;
mod nemesis;
mod network;
mod ours;
mod recorder;
mod watcher;

use std::fs::File;
use std::io::BufWriter;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use cairn_history::{
    ClientId, History, KeyRange, Leadership, LeaseTimes, Limits, MemberId, RangeRequest, Request,
    Revision, Term, WatchRequest, check,
};
use clap::Args;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use self::call::call;
use self::cluster::{Cluster, status};
use self::endpoints::Endpoints;
use self::load::{Client, Trade};
use self::nemesis::{Nemesis, Trouble};
use self::network::Network;
use self::ours::Ours;
use self::recorder::Recorder;
use self::watcher::Watcher;
use crate::outcome::Outcome;
use crate::server_process::ServerCommand;
use crate::workspace::Workspace;

/// Numbers of those who are no clients of the load.
const AUDITOR: u32 = 1000;
const OTHER_WATCHERS: u32 = 1001;
const READER: u32 = 2000;

/// How often members are asked who leads.
const OBSERVE_EVERY: Duration = Duration::from_millis(300);
/// How long watchers have to hear the last of it.
const CATCH_UP_MAX: Duration = Duration::from_secs(30);
/// A server's clock may run so much faster than ours over a lease's life.
pub(crate) const LEASE_TIMES: LeaseTimes = LeaseTimes {
    clock_error_nanos: 50_000_000,
    late_nanos_max: None,
};

/// What a member misses in a moment is more than this keeps.
const LITTLE_LOG: [&str; 2] = ["--snapshot-count=30", "--snapshot-catchup-entries=10"];

/// What clients and watchers are to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Read and write.
    Load,
    /// Hear all up to this revision.
    Finish(Revision),
    /// Go.
    End,
}

/// Which cluster, how much load, and what trouble.
#[derive(Args, Clone, Debug)]
pub(crate) struct ClusterTest {
    /// The server: a command line; this workspace's if not given.
    #[arg(long, value_name = "COMMAND")]
    server: Option<String>,
    /// How many members.
    #[arg(long, default_value_t = 3)]
    members: u64,
    /// How long the load lasts.
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    /// How many runs, each of a new cluster and the next seed.
    #[arg(long, default_value_t = 1)]
    runs: u64,
    /// Clients that read and write keys; those for leases, locks and compactions come with them.
    #[arg(long, default_value_t = 10)]
    clients: u32,
    /// Watchers beside the one of everything.
    #[arg(long, default_value_t = 4)]
    watchers: u32,
    /// Seed of the load and of the trouble; what the processes do with their time, it does not decide.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Kinds of trouble, with commas between them.
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        default_values = ["kill", "kill-all", "pause", "clock", "partition", "move", "replace", "forget"]
    )]
    troubles: Vec<Trouble>,
    /// Have members keep little log, so that those that were away need a snapshot.
    #[arg(long)]
    little_log: bool,
    /// Have the load go through this workspace's client, with a cache on each member.
    #[arg(long)]
    client: bool,
    /// Keep all members on the loopback even if network namespaces can be had.
    #[arg(long)]
    loopback: bool,
    /// Where to write the history; without, only a bad one is written.
    #[arg(long, value_name = "FILE")]
    history: Option<PathBuf>,
    /// Where the members' data and logs stay; without, they go.
    #[arg(long, value_name = "FOLDER")]
    keep: Option<PathBuf>,
}

impl ClusterTest {
    /// What every change is checked with.
    pub(crate) fn short() -> Self {
        Self {
            server: None,
            members: 3,
            seconds: 12,
            runs: 1,
            clients: 6,
            watchers: 3,
            seed: 1,
            troubles: vec![
                Trouble::Kill,
                Trouble::Pause,
                Trouble::Clock,
                Trouble::Partition,
                Trouble::Replace,
            ],
            little_log: true,
            client: false,
            loopback: false,
            history: None,
            keep: None,
        }
    }

    pub(crate) async fn run(&self, workspace: &Workspace) -> Result<Outcome> {
        let mut server = match &self.server {
            Some(line) => ServerCommand::parse(line)?,
            None => ServerCommand::program(workspace.build_server()?),
        };
        if self.little_log {
            for flag in LITTLE_LOG {
                server = server.flag(flag);
            }
        }
        let mut test = self.clone();
        if test.troubles.contains(&Trouble::Clock) {
            match faketime() {
                Some(library) => server = server.with_faketime(library),
                None => {
                    println!("note: nobody's wall clock will jump: libfaketime is not installed");
                    test.troubles.retain(|trouble| *trouble != Trouble::Clock);
                }
            }
        }
        test.run_all(workspace, &server).await
    }

    async fn run_all(&self, workspace: &Workspace, server: &ServerCommand) -> Result<Outcome> {
        for seed in self.seed..self.seed + self.runs {
            let (history, ended) = self.record(server, seed).await?;
            // A cluster that does not recover may have shown why before.
            let verdict = self.verdict(workspace, &history, seed, ended.is_ok());
            ended?;
            if verdict? == Outcome::Failed {
                return Ok(Outcome::Failed);
            }
        }
        Ok(Outcome::Passed)
    }

    /// Checks a history, and writes it if it was asked for or is bad.
    fn verdict(
        &self,
        workspace: &Workspace,
        history: &History,
        seed: u64,
        is_healed: bool,
    ) -> Result<Outcome> {
        let limits = Limits {
            leases: Some(LEASE_TIMES),
            ..Limits::default()
        };
        let verdict = check(history, &limits);
        println!("seed {seed}: {verdict}");
        let bad = || workspace.root().join("target/cluster-test.jsonl");
        let file = match &self.history {
            Some(file) => Some(file.clone()),
            None if verdict.is_clean() && is_healed => None,
            None => Some(bad()),
        };
        if let Some(path) = file {
            let shown = path.display();
            let file = File::create(&path).with_context(|| format!("creating {shown}"))?;
            history.write(BufWriter::new(file))?;
            println!("its history is in {shown}");
        }
        Ok(if verdict.is_clean() {
            Outcome::Passed
        } else {
            Outcome::Failed
        })
    }

    /// Runs a cluster, and writes down what its clients see; also whether it recovered.
    async fn record(&self, server: &ServerCommand, seed: u64) -> Result<(History, Result<()>)> {
        let home = tempfile::tempdir().context("making a folder for the servers' data")?;
        let folder = match &self.keep {
            Some(folder) => folder.join(format!("seed-{seed}")),
            None => home.path().to_path_buf(),
        };
        let wants_cuts = !self.loopback && self.troubles.contains(&Trouble::Partition);
        let (network, why_not) = Network::new(wants_cuts);
        if let Some(why) = why_not {
            println!("note: nobody will be cut off: {why}");
        }
        let recorder = Recorder::new();
        let started = Cluster::start(self.members, network, server.clone(), folder, recorder);
        let mut cluster = started.await?;
        let ended = self.play(&mut cluster, seed).await;
        Ok((cluster.recorder.history(), ended))
    }

    /// Load and trouble, then peace, then a look at everything.
    async fn play(&self, cluster: &mut Cluster, seed: u64) -> Result<()> {
        let mut troubles = self.troubles.clone();
        troubles.retain(|trouble| *trouble != Trouble::Partition || cluster.can_cut());
        let (phase, phases) = watch::channel(Phase::Load);
        let (caught_up, mut catching_up) = mpsc::channel(16);
        let ours = self
            .client
            .then(|| Ours::new(&cluster.endpoints))
            .transpose()?;
        let mut clients = self.clients(cluster, ours.as_ref(), &phases, seed);
        let mut watchers = self.watchers(cluster, &phases, seed, &caught_up);
        if let Some(ours) = ours {
            watchers.spawn(ours.follow(cluster.endpoints.clone(), cluster.recorder.clone()));
        }
        watchers.spawn(observe(cluster.endpoints.clone(), cluster.recorder.clone()));

        let mut nemesis = Nemesis::new(troubles, SmallRng::seed_from_u64(seed));
        let load = Duration::from_secs(self.seconds);
        if let Ok(ended) = tokio::time::timeout(load, nemesis.run(cluster)).await {
            ended?;
        }
        println!("seed {seed}: trouble {} times, now healing", nemesis.count);
        cluster.heal().await?;
        // Once clients see an end of trouble, they are done.
        phase.send_replace(Phase::Finish(Revision(i64::MAX)));
        while let Some(ended) = clients.join_next().await {
            ended?;
        }
        let revision = cluster.wait_until_equal().await?;
        let installed = cluster.installations();
        println!("seed {seed}: {installed} snapshots were installed");
        let jumps = cluster.told_jumps();
        println!("seed {seed}: members told of {jumps} jumps of their wall clocks");
        phase.send_replace(Phase::Finish(revision));
        let all = async {
            for _ in 0..=self.watchers {
                catching_up.recv().await;
            }
        };
        if tokio::time::timeout(CATCH_UP_MAX, all).await.is_err() {
            println!("seed {seed}: not every watcher heard all of it in time");
        }
        cluster.recorder.settled();
        read_all(cluster).await;
        phase.send_replace(Phase::End);
        watchers.abort_all();
        Ok(())
    }

    fn clients(
        &self,
        cluster: &Cluster,
        ours: Option<&Ours>,
        phases: &watch::Receiver<Phase>,
        seed: u64,
    ) -> JoinSet<()> {
        let keys = (0..self.clients).map(|_| Trade::Keys);
        let others = [
            Trade::Leases,
            Trade::Leases,
            Trade::Locks,
            Trade::Locks,
            Trade::Compactions,
        ];
        let mut clients = JoinSet::new();
        for (number, trade) in (0..).zip(keys.chain(others)) {
            let (endpoints, recorder) = (cluster.endpoints.clone(), cluster.recorder.clone());
            let ways = (endpoints, ours.cloned());
            let client = Client::new(number, seed, ways, recorder, phases.clone());
            clients.spawn(client.run(trade));
        }
        clients
    }

    fn watchers(
        &self,
        cluster: &Cluster,
        phases: &watch::Receiver<Phase>,
        seed: u64,
        caught_up: &mpsc::Sender<()>,
    ) -> JoinSet<()> {
        let everything = WatchRequest {
            start: Some(Revision::FRESH),
            prev_kv: true,
            progress_notify: true,
            fragment: true,
            ..WatchRequest::new(KeyRange::all())
        };
        let mut rng = SmallRng::seed_from_u64(seed);
        let others = (0..self.watchers).map(|at| some_watch(&mut rng, at));
        let others = (OTHER_WATCHERS..).zip(others);
        let mut watchers = JoinSet::new();
        for (number, request) in std::iter::once((AUDITOR, everything)).chain(others) {
            let (endpoints, recorder) = (cluster.endpoints.clone(), cluster.recorder.clone());
            let phases = phases.clone();
            let watcher = Watcher::new(
                (number, seed),
                request,
                endpoints,
                recorder,
                phases,
                caught_up.clone(),
            );
            watchers.spawn(watcher.run());
        }
        watchers
    }
}

/// libfaketime, where Linux distributions have it.
fn faketime() -> Option<PathBuf> {
    let folders = std::fs::read_dir("/usr/lib").ok()?;
    let folders = folders.filter_map(|folder| Some(folder.ok()?.path()));
    let mut folders: Vec<PathBuf> = folders.collect();
    folders.push("/usr/lib".into());
    folders.push("/usr/lib64".into());
    let mut libraries = folders
        .into_iter()
        .map(|folder| folder.join("faketime/libfaketimeMT.so.1"));
    libraries.find(|library| library.is_file())
}

fn some_watch(rng: &mut SmallRng, at: u32) -> WatchRequest {
    let range = match at % 3 {
        0 => KeyRange::prefix("a/"),
        1 => KeyRange::prefix("b/"),
        _ => KeyRange::One("a/04".into()),
    };
    WatchRequest {
        prev_kv: rng.random_bool(0.5),
        no_put: rng.random_bool(0.1),
        no_delete: rng.random_bool(0.1),
        progress_notify: rng.random_bool(0.5),
        ..WatchRequest::new(range)
    }
}

/// Asks all members for their names and terms, again and again.
///
/// Who leads they say too, but not of which term: etcd's term is that of the last entry applied, and
/// its leader may be newer. So that a term has one leader is left to the simulator to check.
async fn observe(endpoints: Endpoints, recorder: Recorder) {
    loop {
        for endpoint in endpoints.all() {
            let Ok(status) = status(&endpoint).await else {
                continue;
            };
            if let Some(header) = &status.header {
                endpoints.learn(endpoint.member, header.member_id);
            }
            recorder.leadership(Leadership {
                at: recorder.now(),
                member: endpoint.member,
                term: Term(status.raft_term),
                leader: None,
            });
        }
        tokio::time::sleep(OBSERVE_EVERY).await;
    }
}

/// Reads everything from every member, as it has it and as all have it, and compares their hashes.
async fn read_all(cluster: &Cluster) {
    let ask = async |member: MemberId, channel: &tonic::transport::Channel, request: Request| {
        let reader = ClientId(READER);
        let op = cluster.recorder.call(reader, member, request.clone());
        let outcome = call(channel, &request, &cluster.recorder).await;
        cluster.recorder.end(op, outcome.clone());
        outcome.answer().and_then(|answer| answer.revision)
    };
    let mut hash_at = None;
    for endpoint in cluster.endpoints.all() {
        for serializable in [true, false] {
            let mut read = RangeRequest::new(KeyRange::all());
            read.serializable = serializable;
            let revision = ask(endpoint.member, &endpoint.channel, Request::Range(read)).await;
            hash_at = hash_at.or(revision);
        }
    }
    for endpoint in cluster.endpoints.all() {
        ask(endpoint.member, &endpoint.channel, Request::HashKv(hash_at)).await;
    }
}
