//! Developer tasks, run as `cargo xtask TASK`.
//!
//! [`verify`] is the one gate: it only reads, on a developer's machine and in CI alike. [`fix`]
//! writes. Nothing here is part of the product.
#![forbid(unsafe_code)]
#![expect(
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a developer's tool prints, waits and measures time"
)]

mod certificates;
mod check_history;
mod clients;
mod cluster_test;
mod conformance;
mod crash;
mod differential;
mod etcdctl;
mod fix;
mod fuzz;
mod hostile;
mod interruptible;
mod layers;
mod members;
mod outcome;
mod patroni;
mod proxy;
mod schemathesis;
mod server_process;
mod sim;
mod tidy;
mod verify;
mod workspace;

use std::process::ExitCode;

use anyhow::Result;
use cairn_bench::compare::CompareArgs;
use cairn_bench::progress::Progress;
use clap::Parser;

use crate::check_history::CheckHistory;
use crate::clients::Clients;
use crate::cluster_test::ClusterTest;
use crate::conformance::Conformance;
use crate::crash::Crash;
use crate::differential::Differential;
use crate::etcdctl::Etcdctl;
use crate::fuzz::Fuzz;
use crate::hostile::Hostile;
use crate::interruptible::interruptible;
use crate::outcome::Outcome;
use crate::patroni::Patroni;
use crate::schemathesis::Schemathesis;
use crate::sim::Sim;
use crate::verify::Verify;
use crate::workspace::{Workspace, run};

/// What `compare` measures if nothing else is named.
const DEFAULT_A: &str = "target/release/cairn";

/// Developer tasks of the Cairn workspace.
#[derive(Parser, Debug)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
enum Task {
    /// Checks everything and writes nothing: the gate for every change.
    Verify(Verify),
    /// Formats, applies clippy's suggestions and lowers the ratchet.
    Fix,
    /// Plays random scripts on Cairn and on a real etcd, and compares every answer.
    Differential(Differential),
    /// Kills a server under load again and again, and checks what is left.
    Crash(Crash),
    /// Lets hostile clients loose on a server, beside an ordinary one.
    Hostile(Hostile),
    /// Fuzzes everything that reads from outside.
    Fuzz(Fuzz),
    /// Troubles a cluster of real processes under load, and checks what its clients saw.
    ClusterTest(ClusterTest),
    /// Checks recorded histories of clusters again.
    CheckHistory(CheckHistory),
    /// Says of each rule of etcd's whether it is seen on a server.
    Conformance(Conformance),
    /// Calls Debian's etcdctl on Cairn and on a real etcd, and compares what it prints.
    Etcdctl(Etcdctl),
    /// Lets clients in other languages work with a cluster, in plain text and with certificates.
    Clients(Clients),
    /// Lets Patroni keep PostgreSQL available with its state in a cluster, and kills the leader.
    Patroni(Patroni),
    /// Lets schemathesis make random requests from the gateway's own document, and checks answers.
    Schemathesis(Schemathesis),
    /// Plays simulated clusters from seeds, and checks what came of them.
    Sim(Sim),
    /// Runs both servers side by side under load, and prints ratios.
    Compare(CompareArgs),
}

impl Task {
    fn run(self, workspace: &Workspace) -> Result<Outcome> {
        match self {
            Self::Verify(verify) => verify.run(workspace),
            Self::Fix => fix::run_all(workspace),
            Self::Differential(differential) => interruptible(differential.run(workspace)),
            Self::Crash(crash) => interruptible(crash.run(workspace)),
            Self::Hostile(hostile) => interruptible(hostile.run(workspace)),
            Self::Fuzz(fuzz) => fuzz.run(workspace),
            Self::ClusterTest(test) => interruptible(test.run(workspace)),
            Self::CheckHistory(histories) => histories.run(),
            Self::Conformance(conformance) => interruptible(conformance.run(workspace)),
            Self::Etcdctl(etcdctl) => interruptible(etcdctl.run(workspace)),
            Self::Clients(clients) => interruptible(clients.run(workspace)),
            Self::Patroni(patroni) => interruptible(patroni.run(workspace)),
            Self::Schemathesis(it) => interruptible(it.run(workspace)),
            Self::Sim(sim) => sim.run(workspace),
            Self::Compare(arguments) => compare(workspace, &arguments),
        }
    }
}

/// Builds what is measured, unless another server is named, and measures.
fn compare(workspace: &Workspace, arguments: &CompareArgs) -> Result<Outcome> {
    if arguments.a == DEFAULT_A {
        let build = "build --release --locked --package cairn-server --bin cairn";
        run(&mut workspace.cargo(build.split(' ')))?;
    }
    let comparison = cairn_bench::compare::run(arguments, Progress::Bars)?;
    println!("{}", comparison.table());
    Ok(Outcome::Passed)
}

fn main() -> ExitCode {
    let workspace = Workspace::of_this_build();
    match Task::parse().run(&workspace) {
        Ok(Outcome::Passed) => ExitCode::SUCCESS,
        Ok(Outcome::Skipped(why)) => {
            println!("skipped: {why}");
            ExitCode::SUCCESS
        }
        Ok(Outcome::Failed) => ExitCode::FAILURE,
        Err(error) => {
            println!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Task::command().debug_assert();
    }
}
