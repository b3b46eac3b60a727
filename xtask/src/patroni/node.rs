//! One PostgreSQL and the Patroni that looks after it.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use cairn_testbed::ports::free_address;

use crate::members::is_ok;
use crate::server_process::on_path;

/// Who PostgreSQL runs as if we are root, whom it refuses.
pub(super) const USER: &str = "postgres";
/// Where Debian has PostgreSQL 15's programs.
const POSTGRESQL: &str = "/usr/lib/postgresql/15/bin";
/// How much of the log an error shows.
const LOG_BYTES_SHOWN: usize = 3000;

/// What Patroni says a server is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Leader,
    Replica,
}

/// The programs that this needs.
pub(super) struct Programs {
    patroni: PathBuf,
    psql: PathBuf,
    /// Starts a program as another user, if we are root.
    setpriv: Option<PathBuf>,
}

impl Programs {
    /// # Errors
    ///
    /// What is missing on this machine.
    pub(super) fn find() -> Result<Self> {
        let find = |name: &str| {
            on_path(name).with_context(|| {
                format!("there is no `{name}` on the path (Debian: patroni, postgresql-15)")
            })
        };
        ensure!(
            Path::new(POSTGRESQL).join("postgres").is_file(),
            "there is no PostgreSQL 15 in {POSTGRESQL} (Debian: postgresql-15)"
        );
        let me = Command::new("id").arg("-u").output()?;
        let is_root = me.stdout.trim_ascii() == b"0";
        Ok(Self {
            patroni: find("patroni")?,
            psql: find("psql")?,
            setpriv: is_root.then(|| find("setpriv")).transpose()?,
        })
    }

    pub(super) fn changes_user(&self) -> bool {
        self.setpriv.is_some()
    }

    /// A command as a user whom PostgreSQL does not refuse; the process is the program's own.
    fn command(&self, program: &Path) -> Command {
        let Some(setpriv) = &self.setpriv else {
            return Command::new(program);
        };
        let mut command = Command::new(setpriv);
        command
            .arg(format!("--reuid={USER}"))
            .arg(format!("--regid={USER}"))
            .args(["--clear-groups", "--"])
            .arg(program);
        command
    }
}

/// One of the two; its processes end with this.
pub(super) struct Node {
    name: &'static str,
    home: PathBuf,
    /// Where Patroni says how it is.
    rest: SocketAddr,
    postgres: SocketAddr,
    child: Option<Child>,
}

impl Node {
    /// Writes its settings to a folder of its own under `folder`.
    pub(super) fn new(name: &'static str, folder: &Path, hosts: &str, is_v2: bool) -> Result<Self> {
        let node = Self {
            name,
            home: folder.join(name),
            rest: free_address()?,
            postgres: free_address()?,
            child: None,
        };
        fs::create_dir_all(&node.home)?;
        let api = if is_v2 { "etcd" } else { "etcd3" };
        let (rest, postgres, home) = (node.rest, node.postgres, node.home.display());
        let settings = format!(
            "scope: demo
name: {name}
restapi: {{listen: '{rest}', connect_address: '{rest}'}}
{api}: {{hosts: '{hosts}'}}
bootstrap:
  dcs: {{ttl: 20, loop_wait: 3, retry_timeout: 5, postgresql: {{use_pg_rewind: true}}}}
  initdb: [{{encoding: UTF8}}, {{auth: trust}}]
  pg_hba: ['host all all 127.0.0.1/32 trust', 'host replication all 127.0.0.1/32 trust', 'local all all trust']
postgresql:
  listen: '{postgres}'
  connect_address: '{postgres}'
  data_dir: {home}/data
  bin_dir: {POSTGRESQL}
  pgpass: {home}/pgpass
  authentication: {{superuser: {{username: {USER}, password: x}}, replication: {{username: copy, password: x}}}}
  parameters: {{unix_socket_directories: {home}, wal_log_hints: 'on'}}
"
        );
        fs::write(node.settings(), settings)?;
        Ok(node)
    }

    pub(super) fn name(&self) -> &str {
        self.name
    }

    pub(super) fn settings(&self) -> PathBuf {
        self.home.join("patroni.yml")
    }

    pub(super) fn start(&mut self, programs: &Programs) -> Result<()> {
        let log = File::options().create(true).append(true).open(self.log())?;
        let mut command = programs.command(&programs.patroni);
        command.arg(self.settings()).current_dir(&self.home);
        command.env("HOME", &self.home).stdin(Stdio::null());
        let child = command.stdout(log.try_clone()?).stderr(log).spawn();
        self.child = Some(child.context("starting patroni")?);
        Ok(())
    }

    /// Kills Patroni and its PostgreSQL without a word (SIGKILL).
    pub(super) fn kill(&mut self) -> Result<()> {
        if let Some(mut child) = self.child.take() {
            child.kill()?;
            child.wait()?;
        }
        // Its first line is the process.
        let Ok(text) = fs::read_to_string(self.home.join("data/postmaster.pid")) else {
            return Ok(());
        };
        let process = text.lines().next().unwrap_or_default();
        let process: u32 = process.parse().context("postmaster.pid names no process")?;
        // It could be somebody else's by now.
        let folder = fs::read_link(format!("/proc/{process}/cwd"));
        if folder.is_ok_and(|folder| folder == self.home.join("data")) {
            let status = Command::new("kill")
                .args(["-9", &process.to_string()])
                .status()?;
            ensure!(status.success(), "killing PostgreSQL: {status}");
        }
        Ok(())
    }

    /// Whether Patroni says that it has this role, and that PostgreSQL runs.
    pub(super) async fn has(&self, role: Role) -> bool {
        let path = match role {
            Role::Leader => "/leader",
            Role::Replica => "/replica",
        };
        matches!(is_ok(self.rest, path).await, Ok(true))
    }

    pub(super) fn check_runs(&mut self) -> Result<()> {
        let ended = self.child.as_mut().map(Child::try_wait).transpose()?;
        if let Some(Some(status)) = ended {
            bail!("{}'s Patroni ended with {status}", self.name);
        }
        Ok(())
    }

    /// What PostgreSQL answers.
    pub(super) fn sql(&self, programs: &Programs, sql: &str) -> Result<String> {
        let output = programs
            .command(&programs.psql)
            .args(["--no-psqlrc", "--tuples-only", "--no-align", "--quiet"])
            .args(["--host", &self.postgres.ip().to_string()])
            .args(["--port", &self.postgres.port().to_string()])
            .args(["--username", USER, "--dbname", "postgres", "--command", sql])
            .env("PGCONNECT_TIMEOUT", "10")
            .current_dir(&self.home)
            .stdin(Stdio::null())
            .output()
            .context("starting psql")?;
        let told = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{}: {}", self.name, told.trim());
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }

    pub(super) fn log_end(&self) -> String {
        let text = fs::read(self.log()).unwrap_or_default();
        let from = text.len().saturating_sub(LOG_BYTES_SHOWN);
        String::from_utf8_lossy(text.get(from..).unwrap_or_default()).into_owned()
    }

    fn log(&self) -> PathBuf {
        self.home.join("log")
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // Nothing more can be done.
        drop(self.kill());
    }
}
