//! `cargo xtask sim`: simulated clusters. The work is `cairn-sim`'s, built here and run with the
//! same arguments.

use anyhow::Result;
use clap::Args;

use crate::outcome::Outcome;
use crate::workspace::{Workspace, run};

/// Seeds of the short run: all scenarios many times.
const SHORT_SEEDS: &str = "300";

/// What `cairn-sim` is told, as it is: see `cargo xtask sim -- --help`.
#[derive(Args, Debug)]
pub(crate) struct Sim {
    /// `cairn-sim`'s arguments: `--seeds N`, `--seed N`, `--profile NAME`, `--schedule FILE`…
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

impl Sim {
    /// With optimisation: for many seeds.
    pub(crate) fn run(&self, workspace: &Workspace) -> Result<Outcome> {
        let run_it = "run --quiet --locked --profile sim --package cairn-sim --";
        let mut command = workspace.cargo(run_it.split(' '));
        run(command.args(&self.arguments))?;
        Ok(Outcome::Passed)
    }

    /// A few hundred seeds with what the tests have built already.
    pub(crate) fn run_short(workspace: &Workspace) -> Result<Outcome> {
        let run_it = "run --quiet --locked --package cairn-sim -- --seeds";
        run(workspace.cargo(run_it.split(' ')).arg(SHORT_SEEDS))?;
        Ok(Outcome::Passed)
    }
}
