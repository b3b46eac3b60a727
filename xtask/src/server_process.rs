//! Servers that a task starts: etcd, or anything that takes its flags.
//!
//! Each has free loopback ports and a folder of its own, which outlive its restarts. A server is
//! killed when its [`ServerProcess`] is dropped, so also when a task fails or is interrupted.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use cairn_proto::etcdserverpb::RangeRequest;
use cairn_proto::etcdserverpb::kv_client::KvClient;
use cairn_testbed::ports::free_address;
use tonic::transport::{Channel, Endpoint};

/// How long a server may take to answer its first read.
const READY_MAX: Duration = Duration::from_secs(60);
const READY_POLL: Duration = Duration::from_millis(20);
/// How much of the log an error shows.
const LOG_LINES_SHOWN: usize = 15;

/// The version of etcd's API that a server stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ApiVersion {
    pub(crate) major: u32,
    pub(crate) minor: u32,
}

impl std::fmt::Display for ApiVersion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

impl ApiVersion {
    /// Reads what a server prints when asked for its version.
    fn parse(text: &str) -> Option<Self> {
        let version = text
            .lines()
            .find_map(|line| line.strip_prefix("etcd Version: "))?;
        let mut numbers = version.trim().split('.').map(str::parse);
        Some(Self {
            major: numbers.next()?.ok()?,
            minor: numbers.next()?.ok()?,
        })
    }
}

/// A server's command line, without the flags for data and addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ServerCommand {
    program: PathBuf,
    flags: Vec<String>,
    /// Where else it listens for clients.
    also: Vec<String>,
    /// Programs are started with it, so that their wall clock can be set.
    faketime: Option<PathBuf>,
}

impl ServerCommand {
    /// Splits a command line at white space; there is no quoting.
    pub(crate) fn parse(line: &str) -> Result<Self> {
        let mut words = line.split_whitespace().map(str::to_owned);
        let program = words.next().context("an empty command line")?;
        Ok(Self {
            program: program.into(),
            flags: words.collect(),
            also: Vec::new(),
            faketime: None,
        })
    }

    pub(crate) fn program(program: impl Into<PathBuf>) -> Self {
        Self {
            program: program.into(),
            flags: Vec::new(),
            also: Vec::new(),
            faketime: None,
        }
    }

    /// With one more flag, which is as good as any that was there before: the last one counts.
    pub(crate) fn flag(mut self, flag: impl Into<String>) -> Self {
        self.flags.push(flag.into());
        self
    }

    /// Listening for clients at this URL too.
    pub(crate) fn listening_at(mut self, url: impl Into<String>) -> Self {
        self.also.push(url.into());
        self
    }

    /// Started with libfaketime, so that its wall clock can be set.
    pub(crate) fn with_faketime(mut self, library: PathBuf) -> Self {
        self.faketime = Some(library);
        self
    }

    /// Has `command`, one of this server, read by how much its wall clock is wrong from `file`. The
    /// clock that only goes on stays as it is.
    pub(crate) fn set_wall_clock(&self, command: &mut Command, file: &Path) {
        if let Some(library) = &self.faketime {
            command
                .env("LD_PRELOAD", library)
                .env("FAKETIME_TIMESTAMP_FILE", file)
                .env("FAKETIME_NO_CACHE", "1")
                .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
                .env("DONT_FAKE_MONOTONIC", "1");
        }
    }

    /// The command, ready for more arguments, without settings from our own environment.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        self.complete(&mut command);
        command
    }

    /// The same, started by another program that takes it as its last arguments.
    pub(crate) fn command_through(&self, mut wrapper: Command) -> Command {
        wrapper.arg(&self.program);
        self.complete(&mut wrapper);
        wrapper
    }

    fn complete(&self, command: &mut Command) {
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("ETCD") {
                command.env_remove(name);
            }
        }
        command.args(&self.flags).stdin(Stdio::null());
    }

    pub(crate) fn name(&self) -> String {
        let name = self.program.file_name().unwrap_or_default();
        name.to_string_lossy().into_owned()
    }

    pub(crate) fn api_version(&self) -> Result<ApiVersion> {
        let program = self.program.display();
        let output = Command::new(&self.program)
            .arg("--version")
            .stdin(Stdio::null())
            .output()
            .with_context(|| format!("starting {program}"))?;
        let text = String::from_utf8_lossy(&output.stdout);
        ApiVersion::parse(&text).with_context(|| format!("{program} --version names no version"))
    }

    /// Starts the server with its data and its log under `home`, and waits until it answers.
    pub(crate) async fn start(&self, home: &Path) -> Result<ServerProcess> {
        fs::create_dir_all(home)?;
        let mut server = ServerProcess {
            command: self.clone(),
            home: home.to_path_buf(),
            client: free_address()?,
            peer: free_address()?,
            child: None,
        };
        server.restart().await?;
        Ok(server)
    }
}

/// A server that we started.
#[derive(Debug)]
pub(crate) struct ServerProcess {
    command: ServerCommand,
    home: PathBuf,
    client: SocketAddr,
    peer: SocketAddr,
    child: Option<Child>,
}

impl ServerProcess {
    /// Starts it again with the same flags, killing it before if it still runs.
    pub(crate) async fn restart(&mut self) -> Result<()> {
        self.kill();
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.log_path())?;
        let child = self
            .command
            .command()
            .args(self.flags())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("starting {}", self.command.program.display()))?;
        self.child = Some(child);
        self.wait_until_ready().await
    }

    /// Kills it without a word (SIGKILL).
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            // It may have ended by itself; in any case nothing more can be done.
            drop(child.kill());
            drop(child.wait());
        }
    }

    /// Where clients find it.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.client)
    }

    /// A connection that is made when first used.
    pub(crate) fn channel(&self) -> Result<Channel> {
        let endpoint = Endpoint::from_shared(self.url())?.connect_timeout(READY_POLL * 50);
        Ok(endpoint.connect_lazy())
    }

    /// Where clients find it, as an address.
    pub(crate) const fn address(&self) -> SocketAddr {
        self.client
    }

    /// The number of its process; none if it has ended.
    pub(crate) fn process_id(&mut self) -> Option<u32> {
        let child = self.child.as_mut()?;
        matches!(child.try_wait(), Ok(None)).then(|| child.id())
    }

    pub(crate) fn name(&self) -> String {
        self.command.name()
    }

    /// The end of what it logged, for an error to show.
    pub(crate) fn log_end(&self) -> String {
        let text = fs::read(self.log_path()).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().rev().take(LOG_LINES_SHOWN).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join("\n")
    }

    fn log_path(&self) -> PathBuf {
        self.home.join("log")
    }

    fn flags(&self) -> Vec<String> {
        let (client, peer) = (self.url(), format!("http://{}", self.peer));
        let mut listened = vec![client.clone()];
        listened.extend_from_slice(&self.command.also);
        vec![
            "--name=one".to_owned(),
            format!("--data-dir={}", self.home.join("data").display()),
            format!("--listen-client-urls={}", listened.join(",")),
            format!("--advertise-client-urls={client}"),
            format!("--listen-peer-urls={peer}"),
            format!("--initial-advertise-peer-urls={peer}"),
            format!("--initial-cluster=one={peer}"),
            "--log-level=warn".to_owned(),
        ]
    }

    async fn wait_until_ready(&mut self) -> Result<()> {
        let mut kv = KvClient::new(self.channel()?);
        let deadline = Instant::now() + READY_MAX;
        let read = RangeRequest {
            key: "ready".into(),
            ..RangeRequest::default()
        };
        loop {
            let answered = tokio::time::timeout(READY_POLL * 50, kv.range(read.clone())).await;
            let ended = match &mut self.child {
                Some(child) => child.try_wait()?,
                None => bail!("the server was not started"),
            };
            if let Some(status) = ended {
                bail!("{} ended with {status}:\n{}", self.name(), self.log_end());
            }
            match answered {
                Ok(Ok(_)) => return Ok(()),
                _ if Instant::now() < deadline => tokio::time::sleep(READY_POLL).await,
                Ok(Err(status)) => {
                    bail!("{} is not ready: {status}\n{}", self.name(), self.log_end())
                }
                Err(_) => bail!("{} does not answer\n{}", self.name(), self.log_end()),
            }
        }
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The first program of this name on the path.
pub(crate) fn on_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|folder| folder.join(name))
        .find(|program| program.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_api_version_is_read_from_the_first_lines() {
        let text = "etcd Version: 3.4.23\nGit SHA: Not provided\n";
        let version = ApiVersion { major: 3, minor: 4 };
        assert_eq!(ApiVersion::parse(text), Some(version));
        assert_eq!(ApiVersion::parse("version 3"), None);
        assert!(
            version
                < ApiVersion {
                    major: 3,
                    minor: 10
                }
        );
    }

    #[test]
    fn a_program_that_ends_at_once_is_reported_with_its_log() {
        let home = tempfile::tempdir().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let started = runtime.block_on(ServerCommand::program("false").start(home.path()));
        let text = format!("{:#}", started.unwrap_err());
        assert!(text.contains("false ended with exit status: 1"), "{text}");
    }
}
