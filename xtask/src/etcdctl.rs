//! `cargo xtask etcdctl`: the same `etcdctl` calls on Cairn and on a real etcd.
//!
//! The real servers say what the right outputs are; ids, addresses and sizes aside, Cairn's must
//! be the same to the letter. There are one member and three, in plain text and secured with
//! certificates.

mod cluster_script;
mod mask;
mod script;
mod session;

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result};
use clap::Args;

use self::cluster_script::{ALARMS, CERTIFIED, LEASES, LOCKS, MEMBERSHIP};
use self::script::{Call, DATA, LEASES_AND_LOCKS, MEMBER, USERS};
use self::session::{Session, VISITOR};
use crate::certificates::Certificates;
use crate::members::Members;
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
    /// The `etcdctl` to call; the one from the path if not given.
    #[arg(long, value_name = "PROGRAM")]
    etcdctl: Option<PathBuf>,
    /// Show every call and what the real etcd's answer was.
    #[arg(long)]
    verbose: bool,
}

/// A pair of clusters, and what is done to them.
struct Arena {
    members: usize,
    is_secured: bool,
    scripts: &'static [&'static [Call]],
}

const ARENAS: [Arena; 4] = [
    Arena {
        members: 1,
        is_secured: false,
        scripts: &[DATA, LEASES_AND_LOCKS, MEMBER, USERS],
    },
    Arena {
        members: 1,
        is_secured: true,
        scripts: &[MEMBER, LEASES, CERTIFIED, USERS],
    },
    Arena {
        members: 3,
        is_secured: false,
        scripts: &[LEASES, LOCKS, USERS, ALARMS, MEMBERSHIP],
    },
    Arena {
        members: 3,
        is_secured: true,
        scripts: &[LEASES, CERTIFIED, LOCKS, MEMBERSHIP],
    },
];

/// Users of the scripts by certificate, with one of another authority.
const USERS_CERTIFIED: [&str; 3] = [VISITOR, "root", "alice"];
const STRANGER: &str = "stranger";

impl Etcdctl {
    pub(crate) async fn run(&self, workspace: &Workspace) -> Result<Outcome> {
        let Some(etcdctl) = self.etcdctl.clone().or_else(|| on_path("etcdctl")) else {
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
        let mut differences = 0;
        for arena in &ARENAS {
            differences += arena.compare(self, &etcdctl, &real, &checked).await?;
        }
        Ok(if differences == 0 {
            Outcome::Passed
        } else {
            Outcome::Failed
        })
    }
}

impl Arena {
    /// Makes all calls on both, and shows those that differ; how many there are.
    async fn compare(
        &self,
        options: &Etcdctl,
        etcdctl: &Path,
        real: &ServerCommand,
        checked: &ServerCommand,
    ) -> Result<usize> {
        let start = Instant::now();
        let home = tempfile::tempdir().context("making a folder for the servers' data")?;
        let certificates = self.certificates(home.path())?;
        let certificates = certificates.as_ref();
        let (real_home, checked_home) = (home.path().join("real"), home.path().join("checked"));
        let (real_members, checked_members) = tokio::try_join!(
            Members::start(real, &real_home, self.members, certificates),
            Members::start(checked, &checked_home, self.members, certificates)
        )?;
        let session = |members: &Members, home: &Path| {
            Session::new(etcdctl, &members.endpoints(), certificates, home)
        };
        let real_session = session(&real_members, &real_home);
        let checked_session = session(&checked_members, &checked_home);
        let version = real.api_version()?;
        let (mut calls, mut differences) = (0, 0);
        let asked = self.scripts.iter().copied().flatten();
        for call in asked.filter(|call| version.minor >= call.since) {
            let (expected, found) =
                tokio::try_join!(real_session.call(call), checked_session.call(call))?;
            calls += 1;
            if options.verbose {
                println!("$ etcdctl {}\n{expected}", call.line);
            }
            if expected != found {
                differences += 1;
                show(call, (&real.name(), &expected), (&checked.name(), &found));
            }
        }
        println!(
            "{}: {calls} calls of etcdctl compared, {differences} differ, {:.0} s",
            self.name(),
            start.elapsed().as_secs_f64()
        );
        Ok(differences)
    }

    fn certificates(&self, home: &Path) -> Result<Option<Certificates>> {
        if !self.is_secured {
            return Ok(None);
        }
        let ours = Certificates::make(&home.join("certificates"), &USERS_CERTIFIED)?;
        let theirs = Certificates::make(&home.join("strangers"), &[STRANGER])?;
        std::fs::copy(theirs.certificate(STRANGER), ours.certificate(STRANGER))?;
        std::fs::copy(theirs.key(STRANGER), ours.key(STRANGER))?;
        Ok(Some(ours))
    }

    fn name(&self) -> String {
        let members = match self.members {
            1 => "one member".to_owned(),
            members => format!("{members} members"),
        };
        let how = if self.is_secured {
            "by certificate"
        } else {
            "in plain text"
        };
        format!("{members}, {how}")
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
