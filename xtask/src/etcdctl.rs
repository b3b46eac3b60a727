//! `cargo xtask etcdctl`: the same calls of `etcdctl` and of `cairnctl`, on Cairn and on a real
//! etcd.
//!
//! What the real `etcdctl` prints of the real servers is right; ids, addresses and sizes aside,
//! the three other pairs of program and server must print the same to the letter, on stdout and
//! stderr, and end with the same code. There are one member and three, in plain text and secured
//! with certificates.

mod cluster_script;
mod line_script;
mod mask;
mod script;
mod session;

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result};
use clap::Args;

use self::cluster_script::{ALARMS, CERTIFIED, LEASES, LOCKS, MEMBERSHIP};
use self::line_script::LINES;
use self::script::{Call, DATA, LEASES_AND_LOCKS, MEMBER, USERS};
use self::session::{Session, VISITOR};
use crate::certificates::Certificates;
use crate::members::{HttpPlace, Members};
use crate::outcome::Outcome;
use crate::proxy::Proxy;
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
    /// The `cairnctl` to compare with it; this workspace's if not given.
    #[arg(long, value_name = "PROGRAM")]
    cairnctl: Option<PathBuf>,
    /// Show every call and what the real etcd's answer was.
    #[arg(long)]
    verbose: bool,
}

/// A pair of clusters, and what is done to them.
struct Arena {
    members: usize,
    is_secured: bool,
    /// Whether the checked server is called through its `grpc-proxy`; the real etcd never is.
    through_proxy: bool,
    scripts: &'static [&'static [Call]],
}

const ARENAS: [Arena; 5] = [
    Arena {
        members: 1,
        is_secured: false,
        through_proxy: false,
        scripts: &[DATA, LEASES_AND_LOCKS, MEMBER, USERS, LINES],
    },
    Arena {
        members: 1,
        is_secured: true,
        through_proxy: false,
        scripts: &[MEMBER, LEASES, CERTIFIED, USERS],
    },
    Arena {
        members: 3,
        is_secured: false,
        through_proxy: false,
        scripts: &[LEASES, LOCKS, USERS, ALARMS, MEMBERSHIP],
    },
    Arena {
        members: 3,
        is_secured: true,
        through_proxy: false,
        scripts: &[LEASES, CERTIFIED, LOCKS, MEMBERSHIP],
    },
    Arena {
        members: 1,
        is_secured: false,
        through_proxy: true,
        scripts: &[DATA, LEASES_AND_LOCKS, USERS, LINES],
    },
];

/// Who is compared.
struct Programs {
    etcdctl: PathBuf,
    /// The minor release of that etcdctl.
    etcdctl_minor: u32,
    cairnctl: PathBuf,
}

/// A program and the servers that it calls.
struct Side<'a> {
    name: String,
    session: Session<'a>,
    _members: Members,
    _proxy: Option<Proxy>,
}

/// Both programs, each on both kinds of servers.
struct Sides<'a> {
    model: Side<'a>,
    by_etcdctl: Side<'a>,
    real_by_ours: Side<'a>,
    by_ours: Side<'a>,
}

impl Sides<'_> {
    /// Makes a call on all sides; how many differ. If etcdctl is no model of this answer, since it
    /// is older, what ours prints counts for nothing.
    async fn compare(&self, call: &Call, is_model: bool, verbose: bool) -> Result<usize> {
        let (right, by_etcdctl, real_by_ours, by_ours) = tokio::try_join!(
            self.model.session.call(call),
            self.by_etcdctl.session.call(call),
            self.real_by_ours.session.call(call),
            self.by_ours.session.call(call)
        )?;
        if verbose {
            println!("$ etcdctl {}\n{right}", call.line);
        }
        let answers = [
            (&self.by_etcdctl, &by_etcdctl, true),
            (&self.real_by_ours, &real_by_ours, is_model),
            (&self.by_ours, &by_ours, is_model),
        ];
        let mut differences = 0;
        for (side, found, counts) in answers {
            if counts && *found != right {
                differences += 1;
                show(call, (&self.model.name, &right), (&side.name, found));
            }
        }
        Ok(differences)
    }
}

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
        let (checked, cairnctl) = match (&self.server, &self.cairnctl) {
            (Some(line), Some(cairnctl)) => (ServerCommand::parse(line)?, cairnctl.clone()),
            (server, cairnctl) => {
                let built = workspace.build_programs()?;
                let built_server = || Ok(ServerCommand::program(built.server));
                let server = server.as_deref().map(ServerCommand::parse);
                (
                    server.unwrap_or_else(built_server)?,
                    cairnctl.clone().unwrap_or(built.ctl),
                )
            }
        };
        // By the other's name it is to be the other.
        let links = tempfile::tempdir().context("making a folder for a link")?;
        let link = links.path().join("etcdctl");
        let target = cairnctl.canonicalize();
        let target = target.with_context(|| format!("finding {}", cairnctl.display()))?;
        std::os::unix::fs::symlink(target, &link).context("making a link")?;
        let programs = Programs {
            etcdctl_minor: minor_of(&etcdctl).await?,
            etcdctl,
            cairnctl: link,
        };
        let mut differences = 0;
        for arena in &ARENAS {
            differences += arena.compare(self, &programs, &real, &checked).await?;
        }
        Ok(if differences == 0 {
            Outcome::Passed
        } else {
            Outcome::Failed
        })
    }
}

impl Arena {
    /// Makes all calls with both programs on both kinds of servers, and shows those that differ;
    /// how many there are.
    async fn compare(
        &self,
        options: &Etcdctl,
        programs: &Programs,
        real: &ServerCommand,
        checked: &ServerCommand,
    ) -> Result<usize> {
        let start = Instant::now();
        let home = tempfile::tempdir().context("making a folder for the servers' data")?;
        let certificates = self.certificates(home.path())?;
        let certificates = certificates.as_ref();
        let side = |by, server, through_proxy| {
            self.side(by, server, through_proxy, home.path(), certificates)
        };
        let through = self.through_proxy;
        let (etcdctl, cairnctl) = (
            ("etcdctl", programs.etcdctl.as_path()),
            ("cairnctl", programs.cairnctl.as_path()),
        );
        let (model, by_etcdctl, real_by_ours, by_ours) = tokio::try_join!(
            side(etcdctl, real, false),
            side(etcdctl, checked, through),
            side(cairnctl, real, false),
            side(cairnctl, checked, through)
        )?;
        let sides = Sides {
            model,
            by_etcdctl,
            real_by_ours,
            by_ours,
        };
        let version = real.api_version()?;
        let (mut calls, mut differences) = (0, 0);
        let asked = self.scripts.iter().copied().flatten();
        // A proxy names itself there, as etcd's does.
        let asked =
            asked.filter(|call| !(self.through_proxy && call.line.ends_with("member list")));
        for call in asked.filter(|call| version.minor >= call.since) {
            calls += 1;
            let is_model = programs.etcdctl_minor >= call.printed_since;
            differences += sides.compare(call, is_model, options.verbose).await?;
        }
        println!(
            "{}: {calls} calls of etcdctl and cairnctl compared, {differences} differ, {:.0} s",
            self.name(),
            start.elapsed().as_secs_f64()
        );
        Ok(differences)
    }

    /// Starts servers for a program to call.
    async fn side<'a>(
        &self,
        (name, program): (&str, &Path),
        server: &ServerCommand,
        through_proxy: bool,
        home: &Path,
        certificates: Option<&'a Certificates>,
    ) -> Result<Side<'a>> {
        let name = format!("{name} on {}", server.name());
        let home = home.join(name.replace([' ', '/'], "-"));
        let http = HttpPlace::WithGrpc;
        let members = Members::start(server, &home, self.members, certificates, http).await?;
        let mut endpoints = members.endpoints();
        let mut proxy = None;
        if through_proxy {
            let started = Proxy::start(server, &home, &endpoints, "", certificates).await?;
            endpoints = started.endpoint();
            proxy = Some(started);
        }
        let session = Session::new(program, &endpoints, certificates, &home);
        Ok(Side {
            name,
            session,
            _members: members,
            _proxy: proxy,
        })
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
        let through = if self.through_proxy {
            ", through the proxy"
        } else {
            ""
        };
        format!("{members}, {how}{through}")
    }
}

/// The minor release of an etcdctl.
async fn minor_of(etcdctl: &Path) -> Result<u32> {
    let output = tokio::process::Command::new(etcdctl)
        .arg("version")
        .env("ETCDCTL_API", "3")
        .output()
        .await
        .with_context(|| format!("starting {}", etcdctl.display()))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let version = text
        .lines()
        .find_map(|line| line.strip_prefix("etcdctl version: 3."));
    let minor = version.and_then(|version| version.split('.').next());
    let minor = minor.with_context(|| format!("no version of etcdctl 3: {text}"))?;
    Ok(minor.parse()?)
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
