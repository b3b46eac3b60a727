//! A benchmark on one server or cluster: what is done before the rounds, and in each.

mod auth;
mod cluster;
mod http;
mod lease;

use std::num::NonZeroU16;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::compare::benchmark::Benchmark;
use crate::compare::quantity::Quantity;
use crate::compare::scale::Scale;
use crate::compare::side::Side;
use crate::disk_sync;
use crate::key_space::{KeySpace, Order};
use crate::load::{Limit, LoadPlan, Workload};
use crate::measurement::Measurement;
use crate::probe;
use crate::progress::Progress;
use crate::scenario::{
    Consistency, ConsistentLists, Fill, Keyed, Pacing, Scans, Transfer, Transport, WatchPlan, fill,
    puts, reads,
};
use crate::target::Target;

/// Bytes of a key.
const KEY_LEN: usize = 32;
/// Bytes of a value.
const VALUE_LEN: usize = 256;
/// Keys that are put and read.
const KEYS: u64 = 10_000;
/// Keys in a scan.
const SCAN_KEYS: u64 = 100_000;
/// Connections that the streams of watchers are spread over.
const WATCH_CONNECTIONS: usize = 10;
/// Connections that few clients, or clients that load keys, are spread over.
const CONNECTIONS: usize = 8;
/// Clients that put, or load keys, at the same time.
const MANY: usize = 1000;
/// Clients that read at the same time.
const READERS: usize = 100;
/// Clients that put while a cache is listed.
const LIST_WRITERS: usize = 8;
/// The longest that loading may take.
const LOAD_MAX: Duration = Duration::from_secs(1800);
/// How long a server is left alone after loading, before its memory is looked at.
const SETTLE: Duration = Duration::from_secs(5);
/// How long the disk is measured before each round of single puts.
const DISK_TIME: Duration = Duration::from_secs(1);
const ONE: NonZeroU16 = NonZeroU16::new(1).unwrap();
const HUNDRED: NonZeroU16 = NonZeroU16::new(100).unwrap();

/// Rate, processor time and latencies of one kind of load.
struct Results {
    rate: Quantity,
    cpu: Quantity,
    latency: Option<(Quantity, Quantity)>,
}

/// Watchers of one key, and what is measured of them.
struct Watched {
    transport: Transport,
    watchers: usize,
    streams: usize,
    rate: Quantity,
    per_cpu: Quantity,
    all: Quantity,
}

const WATCHED: Watched = Watched {
    transport: Transport::Grpc,
    watchers: 10_000,
    streams: 100,
    rate: Quantity::EventRate,
    per_cpu: Quantity::EventsPerCpu,
    all: Quantity::EventsAll,
};

/// One benchmark on one side.
pub(super) struct Runner<'a> {
    benchmark: Benchmark,
    side: &'a mut Side,
    scale: &'a Scale,
    progress: Progress,
}

impl<'a> Runner<'a> {
    pub(super) fn new(
        benchmark: Benchmark,
        side: &'a mut Side,
        scale: &'a Scale,
        progress: Progress,
    ) -> Self {
        Self {
            benchmark,
            side,
            scale,
            progress,
        }
    }

    /// What happens before the rounds.
    ///
    /// Servers that are read from are restarted after they were filled, so that nothing is left
    /// of the writing but the data: etcd 3.4 copies a buffer as large as its last burst of writes
    /// for every read.
    pub(super) fn prepare(&mut self) -> Result<()> {
        match self.benchmark {
            Benchmark::Puts
            | Benchmark::Put
            | Benchmark::Watch
            | Benchmark::ConsistentList
            | Benchmark::ClusterPuts
            | Benchmark::Failover
            | Benchmark::CatchUp
            | Benchmark::JsonPuts
            | Benchmark::JsonWatch => Ok(()),
            Benchmark::Read | Benchmark::ClusterReads | Benchmark::JsonReads => {
                self.load(&keys(KEYS), HUNDRED)?;
                self.side.restart().map(drop)
            }
            Benchmark::Scan => {
                self.load(&keys(SCAN_KEYS), HUNDRED)?;
                self.side.restart()?;
                Scans::new(keys(SCAN_KEYS), Transfer::Unary).verify(self.side.endpoint()?)
            }
            Benchmark::Million => {
                let loaded = self.load(&keys(self.scale.million), ONE)?;
                std::thread::sleep(SETTLE);
                let usage = self.side.usage()?;
                self.side.add(Quantity::LoadRate, loaded.per_second);
                let resident = bytes(usage.resident_bytes);
                self.side.add(Quantity::LoadedMemory, resident);
                let anonymous = bytes(usage.anonymous_bytes);
                self.side.add(Quantity::LoadedAnonymous, anonymous);
                Ok(())
            }
            Benchmark::KeepAlive => self.prepare_renewals(),
            Benchmark::Leases => self.prepare_leases(),
            Benchmark::Auth => self.prepare_auth(),
            Benchmark::V2 => self.prepare_v2(),
        }
    }

    /// One round.
    pub(super) fn round(&mut self) -> Result<()> {
        match self.benchmark {
            Benchmark::Puts => {
                let results = Results {
                    rate: Quantity::PutRate,
                    cpu: Quantity::PutCpu,
                    latency: Some((Quantity::PutsP50, Quantity::PutsP99)),
                };
                self.compete(MANY, self.side.cluster.all()?, &some_puts(), &results)
            }
            Benchmark::Put => self.single_puts(),
            Benchmark::Read => {
                let results = Results {
                    rate: Quantity::ReadRate,
                    cpu: Quantity::ReadCpu,
                    latency: Some((Quantity::ReadP50, Quantity::ReadP99)),
                };
                let reads = some_reads(Consistency::Linearizable);
                self.compete(READERS, self.side.cluster.all()?, &reads, &results)
            }
            Benchmark::Scan => {
                let results = Results {
                    rate: Quantity::ScanRate,
                    cpu: Quantity::ScanCpu,
                    latency: None,
                };
                let scans = Scans::new(keys(SCAN_KEYS), Transfer::Unary);
                self.compete(1, self.side.cluster.all()?, &scans, &results)
            }
            Benchmark::Watch => self.watch(&WATCHED),
            Benchmark::ConsistentList => self.consistent_lists(),
            Benchmark::Million => self.restart_million(),
            Benchmark::ClusterPuts => self.cluster_puts(),
            Benchmark::ClusterReads => self.cluster_reads(),
            Benchmark::Failover => self.failover(),
            Benchmark::CatchUp => self.catch_up(),
            Benchmark::KeepAlive => self.renewals(),
            Benchmark::Leases => self.restart_leases(),
            Benchmark::Auth => self.auth(),
            Benchmark::JsonPuts => self.json_puts(),
            Benchmark::JsonReads => self.json_reads(),
            Benchmark::JsonWatch => self.watch(&http::WATCHED),
            Benchmark::V2 => self.v2(),
        }
    }

    fn single_puts(&mut self) -> Result<()> {
        let disk = disk_sync::measure(self.side.cluster.home()?, DISK_TIME)?;
        self.side.add(Quantity::DiskP50, disk.p50_us);
        self.side.add(Quantity::DiskP99, disk.p99_us);
        let measured = self.drive(1, self.side.cluster.all()?, &some_puts())?;
        self.add_latency(&measured, Quantity::PutP50, Quantity::PutP99)
    }

    fn watch(&mut self, watched: &Watched) -> Result<()> {
        let plan = WatchPlan {
            endpoint: self.side.endpoint()?,
            transport: watched.transport,
            key: "watched".to_owned(),
            watchers: watched.watchers,
            streams: watched.streams,
            connections: WATCH_CONNECTIONS,
            value_len: VALUE_LEN,
            pacing: Pacing::Delivered,
            warm_up: self.scale.warm_up,
            measure: self.scale.measure,
            server: self.side.cluster.processes().first().copied(),
        };
        let measured = plan.run(self.benchmark.name(), self.progress)?;
        self.side.add(Quantity::OtherCores, measured.other_cores);
        self.side.add(watched.rate, measured.per_second);
        let cost = measured.server.context("the server's cost is unknown")?;
        self.side
            .add(watched.per_cpu, cost.operations_per_cpu_second);
        if let Some(all) = measured.latency("all") {
            self.side.add(watched.all, all.p50_us);
        }
        Ok(())
    }

    fn consistent_lists(&mut self) -> Result<()> {
        let lists = ConsistentLists {
            endpoint: self.side.endpoint()?,
            writers: LIST_WRITERS,
            warm_up: self.scale.warm_up,
            measure: self.scale.measure,
        };
        let waited = lists.run(self.benchmark.name(), self.progress)?;
        self.side.add(Quantity::ListP50, waited.p50_us);
        self.side.add(Quantity::ListP99, waited.p99_us);
        Ok(())
    }

    fn restart_million(&mut self) -> Result<()> {
        let seconds = self.side.restart()?;
        self.side.add(Quantity::Restart, seconds);
        let there = probe::count(self.side.endpoint()?, &keys(self.scale.million))?;
        ensure!(
            there == self.scale.million,
            "{there} keys are left after a restart"
        );
        let resident = bytes(self.side.usage()?.resident_bytes);
        self.side.add(Quantity::RestartedMemory, resident);
        Ok(())
    }

    /// Load for the time of a round, and its results.
    fn compete(
        &mut self,
        clients: usize,
        target: Target,
        workload: &dyn Workload,
        results: &Results,
    ) -> Result<()> {
        let measured = self.drive(clients, target, workload)?;
        self.side.add(results.rate, measured.per_second);
        self.add_cpu(&measured, results.cpu);
        match results.latency {
            Some((p50, p99)) => self.add_latency(&measured, p50, p99),
            None => Ok(()),
        }
    }

    /// Load for the time of a round; no request may fail.
    fn drive(
        &mut self,
        clients: usize,
        target: Target,
        workload: &dyn Workload,
    ) -> Result<Measurement> {
        let limit = Limit::Duration {
            warm_up: self.scale.warm_up,
            measure: self.scale.measure,
        };
        let connections = if clients == MANY {
            self.scale.connections
        } else {
            CONNECTIONS
        };
        let plan = LoadPlan {
            connections: connections.min(clients),
            ..plan(target, clients, limit)
        };
        let measured = plan.run(self.benchmark.name(), workload, self.progress)?;
        self.side.add(Quantity::OtherCores, measured.other_cores);
        all_well(measured)
    }

    /// Writes every key once.
    fn load(&self, keys: &KeySpace, batch: NonZeroU16) -> Result<Measurement> {
        let what = Fill {
            keys: keys.clone(),
            value_len: VALUE_LEN,
            batch,
        };
        let plan = plan(self.side.cluster.all()?, MANY, counted(0));
        let loaded = fill(&plan, &what, LOAD_MAX, self.progress)?;
        loaded.context("a fresh server had the keys already")
    }

    /// So many requests of many clients, as fast as they are answered; none may fail.
    fn send(&self, requests: u64, target: Target, workload: &dyn Workload) -> Result<Measurement> {
        let plan = plan(target, MANY, counted(requests));
        let measured = plan.run(self.benchmark.name(), workload, self.progress)?;
        let measured = all_well(measured)?;
        ensure!(
            measured.operations == requests,
            "{} requests of {requests} were answered in time",
            measured.operations
        );
        Ok(measured)
    }

    fn add_cpu(&mut self, measured: &Measurement, cpu: Quantity) {
        if let Some(cost) = measured.server {
            self.side.add(cpu, cost.cpu_us_per_operation);
        }
    }

    fn add_latency(&mut self, measured: &Measurement, p50: Quantity, p99: Quantity) -> Result<()> {
        let latency = &measured.latencies.first().context("no latencies")?.latency;
        self.side.add(p50, latency.p50_us);
        self.side.add(p99, latency.p99_us);
        Ok(())
    }
}

fn keys(count: u64) -> KeySpace {
    KeySpace::new("bench/", count, KEY_LEN)
}

fn some_puts() -> Keyed {
    puts(keys(KEYS), Order::Random, VALUE_LEN)
}

fn some_reads(consistency: Consistency) -> Keyed {
    reads(keys(KEYS), Order::Random, consistency)
}

fn plan(target: Target, clients: usize, limit: Limit) -> LoadPlan {
    LoadPlan {
        target,
        threads: 1,
        connections: CONNECTIONS.min(clients),
        clients,
        rate: None,
        limit,
    }
}

fn counted(requests: u64) -> Limit {
    Limit::Count {
        requests,
        deadline: LOAD_MAX,
    }
}

fn all_well(measured: Measurement) -> Result<Measurement> {
    ensure!(
        measured.errors == 0,
        "{} requests failed: {}",
        measured.errors,
        measured.first_error.unwrap_or_default()
    );
    Ok(measured)
}

#[expect(clippy::cast_precision_loss, reason = "memory below 2^52 bytes")]
fn bytes(bytes: u64) -> f64 {
    bytes as f64
}
