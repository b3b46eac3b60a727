//! `cargo xtask check-history`: checks recorded histories again.

use std::fs::File;
use std::io::BufReader;
use std::path::PathBuf;

use anyhow::{Context, Result};
use cairn_history::{History, Limits, check};
use clap::Args;

use crate::cluster_test;
use crate::outcome::Outcome;

/// Which files.
#[derive(Args, Debug)]
pub(crate) struct CheckHistory {
    /// Histories, a JSON object a line.
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// Hold leases to their times, as `cluster-test` does.
    #[arg(long)]
    leases: bool,
}

impl CheckHistory {
    pub(crate) fn run(&self) -> Result<Outcome> {
        let limits = Limits {
            leases: self.leases.then_some(cluster_test::LEASE_TIMES),
            ..Limits::default()
        };
        let mut outcome = Outcome::Passed;
        for path in &self.files {
            let shown = path.display();
            let file = File::open(path).with_context(|| format!("opening {shown}"))?;
            let history =
                History::read(BufReader::new(file)).with_context(|| format!("{shown}"))?;
            let verdict = check(&history, &limits);
            println!("{shown}: {verdict}");
            if !verdict.is_clean() {
                outcome = Outcome::Failed;
            }
        }
        Ok(outcome)
    }
}
