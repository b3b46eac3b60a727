//! `bench`: load for any etcd endpoint (see `bench --help`).
#![forbid(unsafe_code)]

mod cli;

use std::io::Write;
use std::num::NonZeroU16;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use cairn_bench::load::{Limit, LoadPlan, Workload};
use cairn_bench::measurement::Measurement;
use cairn_bench::progress::Progress;
use cairn_bench::scenario::{
    Fill, Grants, Mixed, Pacing, Renewals, Restart, RestartTimes, Scans, Transport, WatchPlan,
};
use cairn_bench::server_command::ServerCommand;
use cairn_bench::{compare, interrupt, plot, report, scenario};
use clap::Parser;

use crate::cli::{Cli, Command, KeyArgs, RestartArgs, WatchArgs, server, transfer};

/// The longest that filling before a run may take.
const FILL_MAX: Duration = Duration::from_secs(1800);
/// Seconds that leases live: longer than any run.
const LEASE_TTL_SECS: i64 = 24 * 3600;
/// Keys in one transaction when filling before a run.
const FILL_BATCH: NonZeroU16 = NonZeroU16::new(100).unwrap();

fn main() -> Result<()> {
    let Cli {
        command,
        json,
        svg,
        quiet,
        tls,
        user,
    } = Cli::parse();
    tls.apply()?;
    user.apply();
    interrupt::end_servers_on_signal()?;
    let progress = if quiet {
        Progress::Quiet
    } else {
        Progress::Bars
    };
    let shown = match command {
        Command::Restart(args) => {
            let times = restart(args, progress)?;
            if json {
                serde_json::to_string_pretty(&times)?
            } else {
                report::restart_table(&times)
            }
        }
        Command::Compare(args) => {
            let comparison = compare::run(&args, progress)?;
            if let Some(path) = svg {
                std::fs::write(&path, comparison.svg()?)?;
            }
            if json {
                serde_json::to_string_pretty(&comparison)?
            } else {
                comparison.table()
            }
        }
        other => {
            let measured = measure(other, progress)?;
            if let Some(path) = svg {
                draw(&path, &measured)?;
            }
            if json {
                serde_json::to_string_pretty(&measured)?
            } else {
                report::table(&[measured])
            }
        }
    };
    writeln!(std::io::stdout(), "{shown}").context("writing the result")
}

fn restart(args: RestartArgs, progress: Progress) -> Result<RestartTimes> {
    let RestartArgs {
        server,
        keys,
        batch,
        ending,
        restarts,
        dir,
    } = args;
    let home = match dir {
        Some(dir) => tempfile::tempdir_in(dir)?,
        None => tempfile::tempdir()?,
    };
    let fill = Fill {
        keys: keys.space(),
        value_len: keys.value_size,
        batch,
    };
    let restart = Restart {
        command: ServerCommand::parse(&server)?,
        fill,
        ending,
        restarts,
    };
    restart.run(home.path(), progress)
}

fn measure(command: Command, progress: Progress) -> Result<Measurement> {
    match command {
        Command::Put { load, keys } => {
            let puts = scenario::puts(keys.space(), keys.order, keys.value_size);
            load.plan()?.run("put", &puts, progress)
        }
        Command::Range {
            load,
            keys,
            consistency,
            page,
        } => {
            let (name, ranges) = match page {
                Some(page) => (
                    "page",
                    scenario::pages(keys.space(), keys.order, consistency, page),
                ),
                None => (
                    "range",
                    scenario::reads(keys.space(), keys.order, consistency),
                ),
            };
            run_filled(&load.plan()?, &keys, name, &ranges, progress)
        }
        Command::Scan { load, keys, stream } => {
            let plan = load.plan()?;
            let scans = Scans::new(keys.space(), transfer(stream));
            fill(&plan, &keys, FILL_BATCH, progress)?;
            scans.verify(plan.target.first())?;
            plan.run("scan", &scans, progress)
        }
        Command::Txn { load, keys } => {
            let txns = scenario::txns(keys.space(), keys.order, keys.value_size);
            run_filled(&load.plan()?, &keys, "txn", &txns, progress)
        }
        Command::Mixed {
            load,
            keys,
            reads_percent,
            consistency,
        } => {
            let reads = scenario::reads(keys.space(), keys.order, consistency);
            let puts = scenario::puts(keys.space(), keys.order, keys.value_size);
            let mixed = Mixed::new(reads, puts, reads_percent);
            run_filled(&load.plan()?, &keys, "mixed", &mixed, progress)
        }
        Command::WatchFanout {
            watch,
            watchers,
            streams,
        } => watch_plan(&watch, watchers, streams).run("watch-fanout", progress),
        Command::WatchLatency { watch, watchers } => {
            watch_plan(&watch, watchers, watchers).run("watch-latency", progress)
        }
        Command::LeaseKeepalive { load, leases } => {
            keep_alive(&load.plan()?, Renewals { leases }, progress)
        }
        Command::Load { load, keys, batch } => {
            let plan = load.plan()?;
            let filled = fill(&plan, &keys, batch, progress)?;
            filled.context("every key is there already; choose another --prefix")
        }
        Command::Restart { .. } | Command::Compare(_) => {
            anyhow::bail!("starts servers of its own and is no single measurement")
        }
    }
}

fn run_filled(
    plan: &LoadPlan,
    keys: &KeyArgs,
    name: &str,
    workload: &dyn Workload,
    progress: Progress,
) -> Result<Measurement> {
    fill(plan, keys, FILL_BATCH, progress)?;
    plan.run(name, workload, progress)
}

/// Renews leases of a server that had none: they are granted first.
fn keep_alive(plan: &LoadPlan, renewals: Renewals, progress: Progress) -> Result<Measurement> {
    grant(plan, renewals.leases, progress)?;
    plan.run("lease-keepalive", &renewals, progress)
}

fn grant(plan: &LoadPlan, leases: u64, progress: Progress) -> Result<()> {
    let granting = LoadPlan {
        limit: Limit::Count {
            requests: leases,
            deadline: FILL_MAX,
        },
        rate: None,
        ..plan.clone()
    };
    let grants = Grants {
        ttl: LEASE_TTL_SECS,
    };
    granting.run("grant", &grants, progress).map(drop)
}

fn fill(
    plan: &LoadPlan,
    keys: &KeyArgs,
    batch: NonZeroU16,
    progress: Progress,
) -> Result<Option<Measurement>> {
    let fill = Fill {
        keys: keys.space(),
        value_len: keys.value_size,
        batch,
    };
    scenario::fill(plan, &fill, FILL_MAX, progress)
}

fn watch_plan(watch: &WatchArgs, watchers: usize, streams: usize) -> WatchPlan {
    WatchPlan {
        endpoint: watch.endpoint,
        transport: if watch.web_socket {
            Transport::WebSocket
        } else {
            Transport::Grpc
        },
        key: "bench-watched".to_owned(),
        watchers,
        streams,
        connections: watch.connections,
        value_len: watch.value_size,
        pacing: watch.rate.map_or(Pacing::Delivered, Pacing::Rate),
        warm_up: watch.warm_up,
        measure: watch.duration,
        server: server(watch.pid, watch.endpoint),
    }
}

fn draw(path: &Path, measured: &Measurement) -> Result<()> {
    let svg = plot::latency_svg(&measured.scenario, &measured.latencies)?;
    std::fs::write(path, svg).with_context(|| format!("writing {}", path.display()))
}
