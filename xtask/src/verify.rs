//! `cargo xtask verify`: every check there is, in one command that writes nothing.
//!
//! All chosen sections run even if one fails, so that one run shows everything.

use std::fmt::Display;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};

use crate::cluster_test::ClusterTest;
use crate::conformance::Conformance;
use crate::crash::Crash;
use crate::differential::Differential;
use crate::etcdctl::Etcdctl;
use crate::hostile::Hostile;
use crate::interruptible::interruptible;
use crate::outcome::Outcome;
use crate::sim::Sim;
use crate::workspace::{Workspace, run};
use crate::{layers, tidy};

/// A part of the gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Section {
    /// Formatting (rustfmt).
    Format,
    /// Rules about source text.
    Tidy,
    /// Which crate may know which, and licences.
    Layers,
    /// Lints.
    Clippy,
    /// All tests.
    Test,
    /// Documentation, with its links.
    Docs,
    /// Simulated clusters.
    Sim,
    /// Rules of etcd's, seen on Cairn and on a real etcd.
    Conformance,
    /// `etcdctl` on Cairn and on a real etcd.
    Etcdctl,
    /// Random scripts against a real etcd.
    Differential,
    /// Killing the server under load.
    Crash,
    /// Hostile clients, a second each.
    Hostile,
    /// A cluster in trouble.
    Cluster,
}

/// Which sections to run.
#[derive(Args, Debug)]
pub(crate) struct Verify {
    /// Only these sections, with commas between them.
    #[arg(long, value_enum, value_delimiter = ',', value_name = "SECTIONS")]
    only: Vec<Section>,
}

impl Verify {
    pub(crate) fn run(&self, workspace: &Workspace) -> Result<Outcome> {
        let mut ended = Vec::new();
        for section in Section::value_variants() {
            if !self.only.is_empty() && !self.only.contains(section) {
                continue;
            }
            println!("\n== {} ==", section.name());
            let start = Instant::now();
            let outcome = section.run(workspace).unwrap_or_else(|error| {
                println!("error: {error:#}");
                Outcome::Failed
            });
            ended.push((*section, outcome, start.elapsed()));
        }
        summary(&ended)
    }
}

impl Section {
    fn name(self) -> String {
        self.to_possible_value()
            .map_or_else(String::new, |value| value.get_name().to_owned())
    }

    fn run(self, workspace: &Workspace) -> Result<Outcome> {
        match self {
            Self::Format => with_component("fmt", "rustfmt", || {
                let mut check = workspace.cargo(["fmt", "--all", "--check"]);
                if let Err(error) = run(&mut check) {
                    bail!("{error:#}: `cargo xtask fix` formats");
                }
                Ok(Outcome::Passed)
            }),
            Self::Tidy => Ok(listed(&tidy::check(workspace)?)),
            Self::Layers => Ok(listed(&layers::check(workspace)?)),
            Self::Clippy => with_component("clippy", "clippy", || {
                let arguments = "clippy --workspace --all-targets --locked -- -D warnings";
                run(&mut workspace.cargo(arguments.split(' ')))?;
                Ok(Outcome::Passed)
            }),
            Self::Test => {
                // Built alone, as the client's tests do, the server would be compiled a second time.
                let server = workspace.build_server()?;
                let arguments = "test --workspace --locked --no-fail-fast";
                let mut tests = workspace.cargo(arguments.split(' '));
                run(tests.env("CAIRN_SERVER", server))?;
                Ok(Outcome::Passed)
            }
            Self::Docs => {
                let mut docs = workspace.cargo(["doc", "--workspace", "--no-deps", "--locked"]);
                // Links to private items serve whoever reads the source, which is whom these docs are for.
                let flags = "-D warnings -A rustdoc::private_intra_doc_links";
                run(docs.env("RUSTDOCFLAGS", flags))?;
                Ok(Outcome::Passed)
            }
            Self::Sim => Sim::run_short(workspace),
            Self::Conformance => interruptible(Conformance::in_gate(workspace)),
            Self::Etcdctl => interruptible(Etcdctl::default().run(workspace)),
            Self::Differential => {
                for scripts in [
                    Differential::short(),
                    Differential::short_of_users(),
                    Differential::short_of_json(),
                    Differential::short_of_v2(),
                ] {
                    match interruptible(scripts.run(workspace))? {
                        Outcome::Passed => {}
                        other => return Ok(other),
                    }
                }
                Ok(Outcome::Passed)
            }
            Self::Crash => interruptible(Crash::short().run(workspace)),
            Self::Hostile => interruptible(Hostile::short().run(workspace)),
            Self::Cluster => interruptible(ClusterTest::short().run(workspace)),
        }
    }
}

/// Runs a check that needs an optional part of the Rust installation.
fn with_component(
    subcommand: &str,
    component: &str,
    check: impl FnOnce() -> Result<Outcome>,
) -> Result<Outcome> {
    let present = Command::new(format!("cargo-{subcommand}"))
        .arg("--version")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    if present {
        check()
    } else {
        Ok(Outcome::Skipped(format!(
            "{component} is not installed (`rustup component add {component}`)"
        )))
    }
}

fn listed<T: Display>(findings: &[T]) -> Outcome {
    for finding in findings {
        println!("{finding}");
    }
    if findings.is_empty() {
        Outcome::Passed
    } else {
        Outcome::Failed
    }
}

fn summary(ended: &[(Section, Outcome, Duration)]) -> Result<Outcome> {
    println!("\n== summary ==");
    let mut failed = Vec::new();
    for (section, outcome, took) in ended {
        let name = section.name();
        let seconds = took.as_secs_f64();
        match outcome {
            Outcome::Passed => println!("{name:<14} passed   {seconds:>7.1} s"),
            Outcome::Skipped(why) => println!("{name:<14} skipped: {why}"),
            Outcome::Failed => {
                println!("{name:<14} FAILED   {seconds:>7.1} s");
                failed.push(name);
            }
        }
    }
    if failed.is_empty() {
        return Ok(Outcome::Passed);
    }
    bail!(
        "{} failed; run them alone with `cargo xtask verify --only {}`",
        failed.join(", "),
        failed.join(",")
    )
}
