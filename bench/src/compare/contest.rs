//! The contests: what is done to a server before the rounds, and in each.

use std::num::NonZeroU16;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::compare::quantity::Quantity;
use crate::compare::side::Side;
use crate::disk_sync;
use crate::key_space::{KeySpace, Order};
use crate::load::{Limit, LoadPlan, Workload};
use crate::measurement::Measurement;
use crate::probe;
use crate::progress::Progress;
use crate::scenario::{Consistency, Fill, Pacing, Scans, Transfer, WatchPlan, fill, puts, reads};

/// Bytes of a key.
const KEY_LEN: usize = 32;
/// Bytes of a value.
const VALUE_LEN: usize = 256;
/// Keys that are put and read.
const KEYS: u64 = 10_000;
/// Keys in a scan.
const SCAN_KEYS: u64 = 100_000;
/// Watchers of one key, the streams and the connections that they are spread over.
const WATCHERS: usize = 10_000;
const WATCH_STREAMS: usize = 100;
const WATCH_CONNECTIONS: usize = 10;
/// Connections that few clients, or clients that load keys, are spread over.
const CONNECTIONS: usize = 8;
/// Clients that put at the same time.
const MANY: usize = 1000;
/// Clients that load keys.
const LOAD_CLIENTS: usize = 1000;
/// The longest that loading may take.
const LOAD_MAX: Duration = Duration::from_secs(1800);
/// How long a server is left alone after loading, before its memory is looked at.
const SETTLE: Duration = Duration::from_secs(5);
/// How long the disk is measured before each round of single puts.
const DISK_TIME: Duration = Duration::from_secs(1);
const ONE: NonZeroU16 = NonZeroU16::new(1).unwrap();
const HUNDRED: NonZeroU16 = NonZeroU16::new(100).unwrap();

/// One comparison of the two servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Contest {
    /// Puts with 1,000 clients: rate and server CPU.
    Puts,
    /// Puts with one client: latency, beside that of the disk.
    Put,
    /// Linearizable reads of one key with 100 clients.
    Read,
    /// Scans of 100,000 keys in one answer.
    Scan,
    /// 10,000 watchers of one key.
    Watch,
    /// A million keys: memory, and the time of a restart.
    Million,
}

/// How thoroughly is compared.
#[derive(Clone, Debug)]
pub(super) struct Scale {
    pub(super) rounds: u32,
    warm_up: Duration,
    measure: Duration,
    million: u64,
    /// For the contest with many clients.
    connections: usize,
}

impl Scale {
    pub(super) fn new(quick: bool, rounds: Option<u32>, connections: usize) -> Self {
        let (default_rounds, warm_up, measure, million) = if quick {
            (
                1,
                Duration::from_millis(500),
                Duration::from_secs(2),
                100_000,
            )
        } else {
            (3, Duration::from_secs(2), Duration::from_secs(5), 1_000_000)
        };
        Self {
            rounds: rounds.unwrap_or(default_rounds).max(1),
            warm_up,
            measure,
            million,
            connections,
        }
    }
}

impl std::fmt::Display for Scale {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            rounds,
            warm_up,
            measure,
            million,
            connections,
        } = self;
        write!(
            f,
            "{rounds} rounds of {measure:?} each after {warm_up:?} of warm-up, \
             {million} keys for memory and restart, {connections} connections for 1,000 clients"
        )
    }
}

impl Contest {
    /// All contests, in the order of reports.
    pub const ALL: [Self; 6] = [
        Self::Puts,
        Self::Put,
        Self::Read,
        Self::Scan,
        Self::Watch,
        Self::Million,
    ];

    /// Its name on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Puts => "puts",
            Self::Put => "put",
            Self::Read => "read",
            Self::Scan => "scan",
            Self::Watch => "watch",
            Self::Million => "million",
        }
    }

    /// What happens before the rounds.
    ///
    /// Servers that are read from are restarted after they were filled, so that nothing is left
    /// of the writing but the data: etcd 3.4 copies a buffer as large as its last burst of writes
    /// for every read.
    pub(super) fn prepare(self, side: &mut Side, scale: &Scale, progress: Progress) -> Result<()> {
        match self {
            Self::Puts | Self::Put | Self::Watch => Ok(()),
            Self::Read => {
                load(side, &keys(KEYS), HUNDRED, progress)?;
                side.restart().map(drop)
            }
            Self::Scan => {
                load(side, &keys(SCAN_KEYS), HUNDRED, progress)?;
                side.restart()?;
                Scans::new(keys(SCAN_KEYS), Transfer::Unary).verify(side.endpoint()?)
            }
            Self::Million => {
                let loaded = load(side, &keys(scale.million), ONE, progress)?;
                std::thread::sleep(SETTLE);
                let usage = side.process()?.usage()?;
                side.add(Quantity::LoadRate, loaded.per_second);
                side.add(Quantity::LoadedMemory, bytes(usage.resident_bytes));
                side.add(Quantity::LoadedAnonymous, bytes(usage.anonymous_bytes));
                Ok(())
            }
        }
    }

    /// One round on one server.
    pub(super) fn round(self, side: &mut Side, scale: &Scale, progress: Progress) -> Result<()> {
        match self {
            Self::Puts => {
                let puts = puts(keys(KEYS), Order::Random, VALUE_LEN);
                let measured = self.drive(side, scale, MANY, &puts, progress)?;
                side.add(Quantity::PutRate, measured.per_second);
                add_cpu(side, Quantity::PutCpu, &measured);
                add_latency(side, Quantity::PutsP50, Quantity::PutsP99, &measured)
            }
            Self::Put => {
                let disk = disk_sync::measure(side.home()?, DISK_TIME)?;
                side.add(Quantity::DiskP50, disk.p50_us);
                side.add(Quantity::DiskP99, disk.p99_us);
                let puts = puts(keys(KEYS), Order::Random, VALUE_LEN);
                let measured = self.drive(side, scale, 1, &puts, progress)?;
                add_latency(side, Quantity::PutP50, Quantity::PutP99, &measured)
            }
            Self::Read => {
                let reads = reads(keys(KEYS), Order::Random, Consistency::Linearizable);
                let measured = self.drive(side, scale, 100, &reads, progress)?;
                side.add(Quantity::ReadRate, measured.per_second);
                add_cpu(side, Quantity::ReadCpu, &measured);
                add_latency(side, Quantity::ReadP50, Quantity::ReadP99, &measured)
            }
            Self::Scan => {
                let scans = Scans::new(keys(SCAN_KEYS), Transfer::Unary);
                let measured = self.drive(side, scale, 1, &scans, progress)?;
                side.add(Quantity::ScanRate, measured.per_second);
                add_cpu(side, Quantity::ScanCpu, &measured);
                Ok(())
            }
            Self::Watch => self.watch(side, scale, progress),
            Self::Million => {
                let seconds = side.restart()?;
                side.add(Quantity::Restart, seconds);
                let there = probe::count(side.endpoint()?, &keys(scale.million))?;
                ensure!(
                    there == scale.million,
                    "{there} keys are left after a restart"
                );
                let usage = side.process()?.usage()?;
                side.add(Quantity::RestartedMemory, bytes(usage.resident_bytes));
                Ok(())
            }
        }
    }

    fn watch(self, side: &mut Side, scale: &Scale, progress: Progress) -> Result<()> {
        let plan = WatchPlan {
            endpoint: side.endpoint()?,
            key: "watched".to_owned(),
            watchers: WATCHERS,
            streams: WATCH_STREAMS,
            connections: WATCH_CONNECTIONS,
            value_len: VALUE_LEN,
            pacing: Pacing::Delivered,
            warm_up: scale.warm_up,
            measure: scale.measure,
            server: Some(side.process()?),
        };
        let measured = plan.run(self.name(), progress)?;
        side.add(Quantity::OtherCores, measured.other_cores);
        side.add(Quantity::EventRate, measured.per_second);
        let cost = measured.server.context("the server's cost is unknown")?;
        side.add(Quantity::EventsPerCpu, cost.operations_per_cpu_second);
        if let Some(all) = measured.latency("all") {
            side.add(Quantity::EventsAll, all.p50_us);
        }
        Ok(())
    }

    fn drive(
        self,
        side: &mut Side,
        scale: &Scale,
        clients: usize,
        workload: &dyn Workload,
        progress: Progress,
    ) -> Result<Measurement> {
        let limit = Limit::Duration {
            warm_up: scale.warm_up,
            measure: scale.measure,
        };
        let few = plan(side, clients, limit)?;
        let connections = if clients == MANY {
            scale.connections
        } else {
            few.connections
        };
        let measured = LoadPlan { connections, ..few }.run(self.name(), workload, progress)?;
        side.add(Quantity::OtherCores, measured.other_cores);
        ensure!(
            measured.errors == 0,
            "{} requests failed: {}",
            measured.errors,
            measured.first_error.unwrap_or_default()
        );
        Ok(measured)
    }
}

fn keys(count: u64) -> KeySpace {
    KeySpace::new("bench/", count, KEY_LEN)
}

fn plan(side: &Side, clients: usize, limit: Limit) -> Result<LoadPlan> {
    Ok(LoadPlan {
        endpoint: side.endpoint()?,
        threads: 1,
        connections: CONNECTIONS.min(clients),
        clients,
        rate: None,
        limit,
        server: Some(side.process()?),
    })
}

fn load(
    side: &Side,
    keys: &KeySpace,
    batch: NonZeroU16,
    progress: Progress,
) -> Result<Measurement> {
    let limit = Limit::Count {
        requests: 0,
        deadline: LOAD_MAX,
    };
    let what = Fill {
        keys: keys.clone(),
        value_len: VALUE_LEN,
        batch,
    };
    let loaded = fill(&plan(side, LOAD_CLIENTS, limit)?, &what, LOAD_MAX, progress)?;
    loaded.context("a fresh server had the keys already")
}

fn add_cpu(side: &mut Side, quantity: Quantity, measured: &Measurement) {
    if let Some(cost) = measured.server {
        side.add(quantity, cost.cpu_us_per_operation);
    }
}

fn add_latency(
    side: &mut Side,
    p50: Quantity,
    p99: Quantity,
    measured: &Measurement,
) -> Result<()> {
    let latency = &measured.latencies.first().context("no latencies")?.latency;
    side.add(p50, latency.p50_us);
    side.add(p99, latency.p99_us);
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "memory below 2^52 bytes")]
fn bytes(bytes: u64) -> f64 {
    bytes as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contests_are_called_what_the_command_line_calls_them() {
        for contest in Contest::ALL {
            assert_eq!(Contest::from_str(contest.name(), false), Ok(contest));
        }
    }

    #[test]
    fn at_least_one_round_is_run() {
        assert_eq!(Scale::new(true, Some(0), 1).rounds, 1);
        assert_eq!(Scale::new(false, None, 1).rounds, 3);
    }
}
