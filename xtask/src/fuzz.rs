//! `cargo xtask fuzz`: fuzzes everything that reads from outside, each for a while.
//!
//! It needs `cargo-fuzz` and a nightly toolchain. The tests of the crates run the same functions with
//! the same corpus, changed at random some thousand times, without either.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use clap::Args;

use crate::outcome::Outcome;
use crate::workspace::{Workspace, run};

/// Crates with fuzzers, and the names of those.
const TARGETS: [(&str, &[&str]); 4] = [
    ("etcd-file", &["bolt", "wal", "snap"]),
    ("consensus", &["wal", "messages"]),
    ("mvcc", &["received"]),
    ("server", &["http2", "token", "flags", "config-file"]),
];

/// For how long, and what.
#[derive(Args, Clone, Debug)]
pub(crate) struct Fuzz {
    /// How long each is fuzzed.
    #[arg(long, default_value_t = 300)]
    seconds: u64,
    /// Only the fuzzers of these crates, with commas between them.
    #[arg(long, value_delimiter = ',', value_name = "CRATES")]
    only: Vec<String>,
    /// The toolchain: a nightly one, whose sanitizer finds what goes beyond memory.
    #[arg(long, default_value = "nightly")]
    toolchain: String,
}

impl Fuzz {
    pub(crate) fn run(&self, workspace: &Workspace) -> Result<Outcome> {
        let version = Command::new("cargo-fuzz")
            .arg("--version")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .status();
        if !version.is_ok_and(|status| status.success()) {
            let why = "cargo-fuzz is not installed (`cargo install cargo-fuzz`)";
            return Ok(Outcome::Skipped(why.to_owned()));
        }
        for (name, targets) in TARGETS {
            if !self.only.is_empty() && !self.only.iter().any(|only| only == name) {
                continue;
            }
            for target in targets {
                let built = workspace.root().join("target/fuzz");
                self.fuzz(&workspace.root().join(name), &built, target)?;
            }
        }
        Ok(Outcome::Passed)
    }

    /// What is found goes to a folder of its own: the corpus stays as small as it is.
    fn fuzz(&self, folder: &Path, target_folder: &Path, target: &str) -> Result<()> {
        let found = tempfile::tempdir().context("making a folder for inputs")?;
        let mut command = Command::new("cargo");
        command
            // The toolchain is chosen by name, not by whoever runs this.
            .env_remove("RUSTUP_TOOLCHAIN")
            .env_remove("CARGO")
            .arg(format!("+{}", self.toolchain))
            .args(["fuzz", "run", target, "--target-dir"])
            .arg(target_folder)
            .arg(found.path())
            .arg(folder.join("fuzz/corpus").join(target))
            .arg("--")
            .arg(format!("-max_total_time={}", self.seconds))
            .current_dir(folder)
            .stdin(Stdio::null());
        run(&mut command)
    }
}
