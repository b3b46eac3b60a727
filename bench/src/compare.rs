//! Two servers side by side: the same benchmarks, turn by turn, on the same disk.
//!
//! Each benchmark has a fresh pair of servers, both up all the time and never both under load.
//! Rounds go A B, B A, A B …, so that a drift of the machine meets both; what counts is the median
//! of the rounds. A benchmark that fails on one side is reported with its error; the others go on.

mod benchmark;
mod quantity;
mod runner;
mod scale;
mod side;
mod summary;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Args;

pub use benchmark::Benchmark;
pub use quantity::{Aim, Quantity, Verdict};
pub use summary::{BenchmarkResult, Comparison, Metric};

use crate::compare::runner::Runner;
use crate::compare::scale::Scale;
use crate::compare::side::{Samples, Side};
use crate::conditions::Conditions;
use crate::progress::Progress;
use crate::server_command::ServerCommand;

/// What is compared, and how thoroughly.
#[derive(Args, Clone, Debug)]
pub struct CompareArgs {
    /// Command line of server A; flags for data, addresses and logs are added.
    #[arg(long, default_value = "target/release/cairn", value_name = "COMMAND")]
    pub a: String,
    /// Command line of server B, whose results A's are divided by.
    #[arg(long, default_value = "etcd", value_name = "COMMAND")]
    pub b: String,
    /// Only these benchmarks; may be given several times.
    #[arg(long, value_enum, value_name = "BENCHMARK")]
    pub only: Vec<Benchmark>,
    /// A few minutes for all: one short round each, and a tenth of the keys where it is a million
    /// (of the leases, too, and a twentieth of the revisions).
    #[arg(long)]
    pub quick: bool,
    /// Rounds for each benchmark and server (3, or 1 with --quick).
    #[arg(long)]
    pub rounds: Option<u32>,
    /// Connections that the 1,000 clients of a benchmark share. The fewer, the cheaper a put: requests
    /// and answers of many clients then share packets and system calls.
    #[arg(long, default_value_t = 100)]
    pub connections: usize,
    /// Members of each cluster, at least three: for the benchmarks that say that they have one.
    #[arg(long, default_value_t = 3)]
    pub members: usize,
    /// Revisions that a member misses in `catch-up` (1,000,000, or 50,000 with --quick). No snapshot
    /// flags are set: what a member that is so far behind is sent is each server's own choice.
    #[arg(long)]
    pub revisions: Option<u64>,
    /// Let clients speak TLS; certificates are made for the servers.
    #[arg(long)]
    pub tls: bool,
    /// Where the servers' data is put, in a directory of its own that is removed afterwards.
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// Write comparison.json, comparison.md and comparison.svg into this directory.
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
}

/// Runs the benchmarks and, if asked to, writes the results.
///
/// # Errors
///
/// If no directory can be made, or the results cannot be written; a benchmark that fails is part
/// of the results.
pub fn run(args: &CompareArgs, progress: Progress) -> Result<Comparison> {
    let home = match &args.dir {
        Some(dir) => tempfile::tempdir_in(dir),
        None => tempfile::tempdir(),
    }
    .context("making a directory for the servers' data")?;
    let commands = [
        ServerCommand::parse(&args.a)?.with_tls(args.tls),
        ServerCommand::parse(&args.b)?.with_tls(args.tls),
    ];
    let scale = Scale::new(args);
    let benchmarks = if args.only.is_empty() {
        &Benchmark::ALL[..]
    } else {
        &args.only
    };
    let mut results = Vec::new();
    for &benchmark in benchmarks {
        let home = home.path().join(benchmark.name());
        let (metrics, error) = match run_benchmark(benchmark, &commands, &home, &scale, progress) {
            Ok(samples) => (summary::metrics(&samples), None),
            Err(error) => (Vec::new(), Some(format!("{error:#}"))),
        };
        results.push(BenchmarkResult {
            benchmark,
            metrics,
            error,
        });
        // Data of a benchmark is of no use to the next, which should find the same free space.
        drop(std::fs::remove_dir_all(&home));
    }
    let comparison = Comparison {
        names: side::names(&commands),
        commands: commands.each_ref().map(ServerCommand::line),
        versions: commands.each_ref().map(ServerCommand::version),
        conditions: Conditions::here(home.path()),
        scale: format!("{scale}{}", if args.tls { ", over TLS" } else { "" }),
        benchmarks: results,
    };
    if let Some(out) = &args.out {
        comparison.write(out)?;
    }
    Ok(comparison)
}

fn run_benchmark(
    benchmark: Benchmark,
    commands: &[ServerCommand; 2],
    home: &Path,
    scale: &Scale,
    progress: Progress,
) -> Result<[Samples; 2]> {
    let commands = &commands
        .clone()
        .map(|command| command.with_flags(benchmark.flags()));
    let [a, b] = commands.each_ref();
    let members = benchmark.members(scale);
    let mut sides = [
        Side::start(a, &home.join("a"), members)?,
        Side::start(b, &home.join("b"), members)?,
    ];
    for (side, command) in sides.iter_mut().zip(commands) {
        let prepared = Runner::new(benchmark, side, scale, progress).prepare();
        prepared.with_context(|| format!("preparing {}", command.line()))?;
    }
    for round in 0..benchmark.rounds(scale) {
        let mut runs: Vec<_> = sides.iter_mut().zip(commands).collect();
        if round % 2 == 1 {
            runs.reverse();
        }
        for (side, command) in runs {
            let done = Runner::new(benchmark, side, scale, progress).round();
            done.with_context(|| command.line())?;
        }
    }
    let [a, b] = sides;
    Ok([a.stop()?, b.stop()?])
}
