//! `cargo xtask clients`: clients that others wrote, at a cluster of three members.
//!
//! Go's clientv3, the Python client etcd3 and the crate etcd-client each have a program of ours in
//! `xtask/clients`, which does keys, watches, leases, locks, elections, users and what there is of
//! maintenance: once in plain text, once with certificates; Go's does it through `grpc-proxy` too. Another speaks JSON with the Python
//! packages etcd3gw and websockets, python-etcd and node-etcd do what there is of the second API, a
//! page in Chromium watches a key. What a program needs is downloaded to `target/clients`; where that
//! is not to be had, it is left out, and the run says so.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};

use crate::certificates::{Certificates, NAMELESS};
use crate::members::{HttpPlace, Members};
use crate::outcome::Outcome;
use crate::proxy::Proxy;
use crate::server_process::{ServerCommand, on_path};
use crate::workspace::{Workspace, run};

/// Which clients, and which server.
#[derive(Args, Clone, Debug)]
pub(crate) struct Clients {
    /// Only these clients, with commas between them.
    #[arg(long, value_enum, value_delimiter = ',', value_name = "CLIENTS")]
    only: Vec<Client>,
    /// How many members there are.
    #[arg(long, default_value_t = 3)]
    members: usize,
    /// The server to check: a command line; this workspace's if not given.
    #[arg(long, value_name = "COMMAND")]
    server: Option<String>,
}

/// Somebody else's client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Client {
    /// etcd's own, with its locks and elections.
    Go,
    /// The same through the server's `grpc-proxy`, also under a namespace.
    GoThroughProxy,
    /// The package etcd3.
    Python,
    /// The crate etcd-client.
    Rust,
    /// The package python-etcd, which speaks the second API.
    PythonV2,
    /// The package node-etcd, which speaks the second API.
    NodeV2,
    /// The gateway's: the package etcd3gw, WebSockets, server-sent events.
    Gateway,
    /// A page in Chromium.
    Browser,
}

/// Users by certificate.
const USERS: [&str; 3] = ["root", "alice", NAMELESS];

/// How a client calls.
#[derive(Clone, Copy)]
struct Way {
    /// With certificates, or in plain text.
    is_secured: bool,
    through: Through,
}

/// What is between a client and the members.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Through {
    Nothing,
    /// Nothing, at addresses that serve HTTP alone.
    HttpApart,
    Proxy,
    /// A proxy that puts this before all keys.
    Namespace(&'static str),
}

impl Way {
    const PLAIN: Self = Self::new(false, Through::Nothing);
    const SECURED: Self = Self::new(true, Through::Nothing);
    const HTTP_APART: Self = Self::new(false, Through::HttpApart);
    const THROUGH_PROXY: [Self; 3] = [
        Self::new(false, Through::Proxy),
        Self::new(true, Through::Proxy),
        Self::new(true, Through::Namespace("ns/")),
    ];

    const fn new(is_secured: bool, through: Through) -> Self {
        Self {
            is_secured,
            through,
        }
    }

    fn told(self) -> String {
        let how = if self.is_secured {
            "with certificates"
        } else {
            "in plain text"
        };
        match self.through {
            Through::Nothing => how.to_owned(),
            Through::HttpApart => format!("{how}, HTTP at addresses of its own"),
            Through::Proxy => format!("{how}, through a proxy"),
            Through::Namespace(_) => format!("{how}, through a proxy with a namespace"),
        }
    }
}

impl Clients {
    pub(crate) async fn run(&self, workspace: &Workspace) -> Result<Outcome> {
        let server = match &self.server {
            Some(line) => ServerCommand::parse(line)?,
            None => ServerCommand::program(workspace.build_server()?),
        };
        let mut ended = Ended::default();
        for client in Client::value_variants() {
            if !self.only.is_empty() && !self.only.contains(client) {
                continue;
            }
            println!("\n== {client:?} ==");
            let program = match client.prepare(workspace) {
                Ok(program) => program,
                Err(error) => {
                    println!("skipped: {error:#}");
                    ended.skipped.push(*client);
                    continue;
                }
            };
            let server = client.served_by(&server);
            let mut has_passed = true;
            for &way in client.ways() {
                has_passed &= self.passes(&server, &program, way).await?;
            }
            let those = if has_passed {
                &mut ended.passed
            } else {
                &mut ended.failed
            };
            those.push(*client);
        }
        println!("\n{}", ended.told());
        Ok(ended.outcome(!self.only.is_empty()))
    }

    /// Runs a program on a cluster of its own.
    async fn passes(&self, server: &ServerCommand, program: &Program, way: Way) -> Result<bool> {
        let start = Instant::now();
        let home = tempfile::tempdir().context("making a folder for the servers' data")?;
        let folder = home.path().join("certificates");
        let certificates = way.is_secured.then(|| Certificates::make(&folder, &USERS));
        let certificates = certificates.transpose()?;
        let data = home.path().join("data");
        let http = match way.through {
            Through::HttpApart => HttpPlace::Apart,
            Through::Nothing | Through::Proxy | Through::Namespace(_) => HttpPlace::WithGrpc,
        };
        let members =
            Members::start(server, &data, self.members, certificates.as_ref(), http).await?;
        let mut command = tokio::process::Command::from(program.command());
        let prefix = match way.through {
            Through::Nothing | Through::HttpApart => None,
            Through::Proxy => Some(""),
            Through::Namespace(prefix) => Some(prefix),
        };
        let proxy = match prefix {
            None => None,
            Some(prefix) => {
                let members = members.endpoints();
                let certificates = certificates.as_ref();
                Some(Proxy::start(server, home.path(), &members, prefix, certificates).await?)
            }
        };
        let called = proxy
            .as_ref()
            .map_or_else(|| members.endpoints(), Proxy::endpoint);
        command.env("CAIRN_ENDPOINTS", called);
        if let Some(prefix) = prefix {
            command.env("CAIRN_PROXY", "1").env("CAIRN_PREFIX", prefix);
        }
        if way.is_secured {
            command.env("CAIRN_CERTIFICATES", &folder);
        }
        let how = way.told();
        println!("{how}:");
        let status = command.kill_on_drop(true).status().await?;
        println!("{how}: {status}, {:.0} s", start.elapsed().as_secs_f64());
        Ok(status.success())
    }
}

/// What became of each client.
#[derive(Default)]
struct Ended {
    passed: Vec<Client>,
    failed: Vec<Client>,
    skipped: Vec<Client>,
}

impl Ended {
    fn told(&self) -> String {
        let told = |what: &str, clients: &[Client]| {
            let names: Vec<String> = clients.iter().map(|it| format!("{it:?}")).collect();
            (!names.is_empty()).then(|| format!("{what}: {}", names.join(", ")))
        };
        let told = [
            told("passed", &self.passed),
            told("failed", &self.failed),
            told("not run, for the reasons above", &self.skipped),
        ];
        told.into_iter().flatten().collect::<Vec<_>>().join("; ")
    }

    /// Who was named must run.
    fn outcome(&self, are_named: bool) -> Outcome {
        match (&*self.failed, &*self.skipped) {
            ([], []) => Outcome::Passed,
            ([], _) if !are_named => Outcome::Skipped(self.told()),
            _ => Outcome::Failed,
        }
    }
}

impl Client {
    /// The server with the flags that the client needs.
    fn served_by(self, server: &ServerCommand) -> ServerCommand {
        match self {
            Self::PythonV2 | Self::NodeV2 => server.clone().flag("--enable-v2"),
            Self::Go
            | Self::GoThroughProxy
            | Self::Python
            | Self::Rust
            | Self::Gateway
            | Self::Browser => server.clone(),
        }
    }

    /// How it calls.
    fn ways(self) -> &'static [Way] {
        match self {
            Self::Go | Self::Python | Self::Rust => &[Way::PLAIN, Way::SECURED],
            Self::GoThroughProxy => &Way::THROUGH_PROXY,
            Self::Gateway | Self::PythonV2 | Self::NodeV2 => {
                &[Way::PLAIN, Way::SECURED, Way::HTTP_APART]
            }
            // A certificate would have to be put into the profile of a user.
            Self::Browser => &[Way::PLAIN],
        }
    }

    /// Gets and builds what it needs.
    ///
    /// # Errors
    ///
    /// What is missing on this machine, or cannot be downloaded.
    fn prepare(self, workspace: &Workspace) -> Result<Program> {
        let source = workspace.root().join("xtask/clients");
        let built = workspace.root().join("target/clients");
        std::fs::create_dir_all(&built)?;
        match self {
            Self::Go | Self::GoThroughProxy => go(&source.join("go"), &built.join("go")),
            Self::Python => python(&source.join("python"), &built.join("python")),
            Self::PythonV2 => python(&source.join("python-v2"), &built.join("python-v2")),
            Self::NodeV2 => node(&source.join("node-v2"), &built.join("node-v2")),
            Self::Gateway => python(&source.join("gateway"), &built.join("gateway")),
            Self::Browser => browser(&source.join("browser")),
            Self::Rust => rust(workspace, &source.join("rust"), &built.join("rust")),
        }
    }
}

/// A program that is ready to run.
struct Program {
    path: PathBuf,
    arguments: Vec<PathBuf>,
    /// Where it finds what it needs, if it must be told.
    packages: Option<PathBuf>,
}

impl Program {
    fn command(&self) -> Command {
        let mut command = Command::new(&self.path);
        command.args(&self.arguments);
        if let Some(packages) = &self.packages {
            command.env("NODE_PATH", packages);
        }
        command
    }
}

fn go(source: &Path, built: &Path) -> Result<Program> {
    let go = on_path("go").context("there is no `go` on the path")?;
    let mut build = Command::new(go);
    build.args(["build", "-mod=readonly", "-o"]).arg(built);
    run(build.arg(".").current_dir(source))?;
    Ok(Program {
        path: built.to_path_buf(),
        arguments: Vec::new(),
        packages: None,
    })
}

fn python(source: &Path, venv: &Path) -> Result<Program> {
    let python = on_path("python3").context("there is no `python3` on the path")?;
    run(Command::new(python).args(["-m", "venv"]).arg(venv))?;
    let python = venv.join("bin/python");
    let mut install = Command::new(&python);
    install.args([
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "-r",
    ]);
    run(install.arg(source.join("requirements.txt")))?;
    Ok(Program {
        path: python,
        arguments: vec![source.join("check.py")],
        packages: None,
    })
}

fn node(source: &Path, built: &Path) -> Result<Program> {
    let node = on_path("node").context("there is no `node` on the path")?;
    let npm = on_path("npm").context("there is no `npm` on the path")?;
    std::fs::create_dir_all(built)?;
    for file in ["package.json", "package-lock.json"] {
        std::fs::copy(source.join(file), built.join(file))?;
    }
    let mut install = Command::new(npm);
    install.args([
        "ci",
        "--ignore-scripts",
        "--no-audit",
        "--no-fund",
        "--silent",
    ]);
    run(install.current_dir(built))?;
    Ok(Program {
        path: node,
        arguments: vec![source.join("check.js")],
        packages: Some(built.join("node_modules")),
    })
}

fn browser(source: &Path) -> Result<Program> {
    on_path("chromium").context("there is no `chromium` on the path")?;
    Ok(Program {
        path: on_path("python3").context("there is no `python3` on the path")?,
        arguments: vec![source.join("check.py")],
        packages: None,
    })
}

fn rust(workspace: &Workspace, source: &Path, built: &Path) -> Result<Program> {
    on_path("protoc").context("there is no `protoc` on the path (Debian: protobuf-compiler)")?;
    let mut build = workspace.cargo(["build", "--quiet", "--locked"]);
    run(build.current_dir(source).env("CARGO_TARGET_DIR", built))?;
    Ok(Program {
        path: built.join("debug/cairn-clients"),
        arguments: Vec::new(),
        packages: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_that_was_named_must_run() {
        let ended = |passed: &[Client], skipped: &[Client]| Ended {
            passed: passed.to_vec(),
            failed: Vec::new(),
            skipped: skipped.to_vec(),
        };
        let partly = ended(&[Client::Go], &[Client::Rust, Client::Browser]);
        let told = "passed: Go; not run, for the reasons above: Rust, Browser";
        assert_eq!(partly.told(), told);
        assert_eq!(partly.outcome(false), Outcome::Skipped(told.to_owned()));
        assert_eq!(partly.outcome(true), Outcome::Failed);
        assert_eq!(ended(&[Client::Go], &[]).outcome(true), Outcome::Passed);
        let none = ended(&[], &[Client::Go]);
        assert_eq!(none.told(), "not run, for the reasons above: Go");
    }
}
