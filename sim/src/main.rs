//! `cairn-sim`: plays many seeds, or one again.
#![forbid(unsafe_code)]
#![expect(
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a developer's tool prints and measures time"
)]

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use anyhow::{Context, Result};
use cairn_sim::{
    Failure, Options, PROFILES, Planted, Profile, Schedule, generate, keep_panics, play, shrink,
};
use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};

/// Plays simulated clusters: many seeds, or one again.
#[derive(Parser, Debug)]
struct Arguments {
    /// How many seeds to play.
    #[arg(long, default_value_t = 100)]
    seeds: u64,
    /// The first seed.
    #[arg(long, default_value_t = 1)]
    first: u64,
    /// Plays this seed alone and prints all that happens.
    #[arg(long, conflicts_with_all = ["seeds", "first"])]
    seed: Option<u64>,
    /// Plays only this scenario; by default seeds take turns through all of them.
    #[arg(long, value_name = "NAME")]
    profile: Option<String>,
    /// Plays the schedule in this file and prints all that happens.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["seed", "seeds", "first", "profile"])]
    schedule: Option<PathBuf>,
    /// Plants a bug, which must be found.
    #[arg(long, value_enum)]
    plant: Option<Planted>,
    /// Does not look for a shorter schedule that fails.
    #[arg(long)]
    no_shrink: bool,
    /// Lists the scenarios.
    #[arg(long)]
    list: bool,
}

fn main() -> ExitCode {
    keep_panics();
    match run(&Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            println!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<bool> {
    if arguments.list {
        for profile in PROFILES {
            println!("{:<22} {}", profile.name, profile.about);
        }
        return Ok(true);
    }
    if let Some(file) = &arguments.schedule {
        let text =
            std::fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))?;
        return Ok(replay(&text.parse()?, arguments.plant));
    }
    let sought = arguments.plant.and_then(Planted::profile);
    let profiles = match (&arguments.profile, sought) {
        (None, None) => PROFILES.iter().collect(),
        (None, Some(sought)) => vec![sought],
        (Some(name), _) => {
            vec![Profile::named(name).context("there is no such scenario: try --list")?]
        }
    };
    let profile_of = |seed: u64| {
        let turn = usize::try_from(seed % profiles.len() as u64).unwrap_or(0);
        profiles.get(turn).copied().context("no scenarios")
    };
    if let Some(seed) = arguments.seed {
        return Ok(replay(&generate(profile_of(seed)?, seed), arguments.plant));
    }
    many(arguments, profile_of)
}

/// Plays one schedule and prints all that happens.
fn replay(schedule: &Schedule, planted: Option<Planted>) -> bool {
    let options = Options {
        planted,
        keep_lines: true,
    };
    let report = play(schedule, options);
    for line in &report.lines {
        println!("{line}");
    }
    println!("digest {:016x}, {} events", report.digest, report.events);
    match report.failure {
        None => true,
        Some(failure) => {
            println!("FAILED: {failure}");
            false
        }
    }
}

/// Plays many seeds on all cores, up to the first that fails.
fn many(
    arguments: &Arguments,
    profile_of: impl Fn(u64) -> Result<&'static Profile> + Sync,
) -> Result<bool> {
    let begun = Instant::now();
    let bar = ProgressBar::new(arguments.seeds);
    if let Ok(style) = ProgressStyle::with_template("{bar:40} {pos}/{len} seeds {eta}") {
        bar.set_style(style);
    }
    let options = Options {
        planted: arguments.plant,
        keep_lines: false,
    };
    let next = AtomicU64::new(arguments.first);
    let end = arguments.first + arguments.seeds;
    let tally = Mutex::new(Tally::default());
    let work = || -> Result<()> {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= end {
                return Ok(());
            }
            let profile = profile_of(seed)?;
            let report = play(&generate(profile, seed), options);
            bar.inc(1);
            let mut tally = tally.lock().unwrap_or_else(PoisonError::into_inner);
            tally.events += report.events;
            tally.operations += report.history.ops.len();
            if let Some(failure) = report.failure {
                // Nobody begins another one.
                next.store(end, Ordering::Relaxed);
                tally.failed.push((seed, failure));
            }
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        for thread in threads {
            if let Ok(done) = thread.join() {
                done?;
            }
        }
        Ok::<_, anyhow::Error>(())
    })?;
    bar.finish_and_clear();
    let tally = tally.into_inner().unwrap_or_else(PoisonError::into_inner);
    if let Some((seed, failure)) = tally.failed.iter().min_by_key(|(seed, _)| seed) {
        let profile = profile_of(*seed)?;
        println!("seed {seed} ({}) FAILED: {failure}", profile.name);
        explain(arguments, &generate(profile, *seed), profile, options);
        return Ok(false);
    }
    println!(
        "{} seeds hold: {} requests, {} events, {:.1} s",
        arguments.seeds,
        tally.operations,
        tally.events,
        begun.elapsed().as_secs_f64()
    );
    Ok(true)
}

/// What came of many seeds.
#[derive(Default)]
struct Tally {
    events: u64,
    operations: usize,
    failed: Vec<(u64, Failure)>,
}

/// Prints the shortest schedule found that fails, what happened in it, and how to play it again.
fn explain(arguments: &Arguments, schedule: &Schedule, profile: &Profile, options: Options) {
    const LINES_MAX: usize = 120;

    let shortest = if arguments.no_shrink {
        schedule.clone()
    } else {
        shrink(schedule, options)
    };
    println!(
        "\nshortest schedule found, {} of {} steps:\n",
        shortest.steps.len(),
        schedule.steps.len()
    );
    println!("{shortest}");
    let report = play(
        &shortest,
        Options {
            keep_lines: true,
            ..options
        },
    );
    let skipped = report.lines.len().saturating_sub(LINES_MAX);
    println!("what happened in it, but for the first {skipped} lines:\n");
    for line in report.lines.iter().skip(skipped) {
        println!("{line}");
    }
    if let Some(failure) = report.failure {
        println!("\nFAILED: {failure}");
    }
    println!(
        "\nplay it again: cargo xtask sim --profile {} --seed {}\nor save the schedule above: cargo \
         xtask sim --schedule FILE",
        profile.name, schedule.cluster.seed
    );
}
