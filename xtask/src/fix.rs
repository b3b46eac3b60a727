//! `cargo xtask fix`: what can be put right by a machine.

use anyhow::Result;

use crate::outcome::Outcome;
use crate::tidy::Ratchet;
use crate::workspace::{Workspace, run};

pub(crate) fn run_all(workspace: &Workspace) -> Result<Outcome> {
    let clippy = [
        "clippy",
        "--fix",
        "--workspace",
        "--all-targets",
        "--allow-dirty",
        "--allow-staged",
    ];
    run(&mut workspace.cargo(clippy))?;
    run(&mut workspace.cargo(["fmt", "--all"]))?;
    Ratchet::load(workspace)?.lower(workspace)?;
    Ok(Outcome::Passed)
}
