//! `cargo xtask etcdctl`: one script of `etcdctl` calls on Cairn and on a real etcd.
//!
//! The real server says what the right outputs are; ids, addresses and sizes aside, Cairn's must
//! be the same to the letter.

mod mask;
mod script;
mod session;

use anyhow::{Context, Result};
use clap::Args;

use self::script::{Call, SCRIPT};
use self::session::Session;
use crate::outcome::Outcome;
use crate::server_process::{ServerCommand, on_path};
use crate::workspace::Workspace;

/// Which servers to compare.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct Etcdctl {
    /// The real etcd: a command line; `etcd` from the path if not given.
    #[arg(long, value_name = "COMMAND")]
    etcd: Option<String>,
    /// The server to check: a command line; this workspace's if not given.
    #[arg(long, value_name = "COMMAND")]
    server: Option<String>,
}

impl Etcdctl {
    pub(crate) async fn run(&self, workspace: &Workspace) -> Result<Outcome> {
        let Some(etcdctl) = on_path("etcdctl") else {
            let missing = "there is no `etcdctl` on the path (Debian: etcd-client)";
            return Ok(Outcome::Skipped(missing.to_owned()));
        };
        let real = match (&self.etcd, on_path("etcd")) {
            (Some(line), _) => ServerCommand::parse(line)?,
            (None, Some(program)) => ServerCommand::program(program),
            (None, None) => {
                let missing = "there is no `etcd` on the path (Debian: etcd-server)";
                return Ok(Outcome::Skipped(missing.to_owned()));
            }
        };
        let checked = match &self.server {
            Some(line) => ServerCommand::parse(line)?,
            None => ServerCommand::program(workspace.build_server()?),
        };
        let home = tempfile::tempdir().context("making a folder for the servers' data")?;
        let (real_home, checked_home) = (home.path().join("real"), home.path().join("checked"));
        let (real, checked) =
            tokio::try_join!(real.start(&real_home), checked.start(&checked_home))?;
        let real_session = Session::new(&etcdctl, &real.url(), &real_home);
        let checked_session = Session::new(&etcdctl, &checked.url(), &checked_home);
        let mut outcome = Outcome::Passed;
        for call in SCRIPT {
            let (expected, found) =
                tokio::try_join!(real_session.call(call), checked_session.call(call))?;
            if expected != found {
                outcome = Outcome::Failed;
                show(call, (&real.name(), &expected), (&checked.name(), &found));
            }
        }
        println!("{} calls of etcdctl compared", SCRIPT.len());
        Ok(outcome)
    }
}

fn show(call: &Call, expected: (&str, &str), found: (&str, &str)) {
    println!("\netcdctl {}", call.line);
    if !call.stdin.is_empty() {
        println!("with standard input {:?}", call.stdin);
    }
    for (name, output) in [expected, found] {
        println!("{name} prints:");
        for line in output.lines() {
            println!("    {line}");
        }
    }
}
