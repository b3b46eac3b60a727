//! Starting a server of our own: etcd, or anything that takes etcd's flags.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::ValueEnum;

use crate::endpoint::Endpoint;
use crate::interrupt;
use crate::probe;
use crate::server_process::ServerProcess;

/// How long a server may take to answer its first read.
const READY_MAX: Duration = Duration::from_secs(300);
/// How long a server may take to end when asked.
const END_MAX: Duration = Duration::from_secs(60);
/// Where a server's certificate and its key are made, for clients that speak TLS.
const CERTIFICATE: &str = "cert.pem";
const KEY: &str = "key.pem";
/// Space for data: more than any scenario writes.
const QUOTA_BYTES: u64 = 16 << 30;

/// A server's command line, without the flags for data, addresses and logs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerCommand {
    words: Vec<String>,
    /// Whether its clients speak TLS; a certificate is then made for it.
    is_tls: bool,
}

impl ServerCommand {
    /// Splits a command line at white space; there is no quoting.
    ///
    /// # Errors
    ///
    /// If it is empty.
    pub fn parse(line: &str) -> Result<Self> {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        if words.is_empty() {
            bail!("an empty command line");
        }
        Ok(Self {
            words,
            is_tls: false,
        })
    }

    /// The same server, whose clients speak TLS or do not.
    #[must_use]
    pub fn with_tls(self, is_tls: bool) -> Self {
        Self { is_tls, ..self }
    }

    /// The command line.
    #[must_use]
    pub fn line(&self) -> String {
        self.words.join(" ")
    }

    /// The program's file name.
    #[must_use]
    pub fn program_name(&self) -> String {
        let program = Path::new(self.words.first().map_or("", String::as_str));
        program
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned()
    }

    /// The first line that the program prints when asked for its version.
    #[must_use]
    pub fn version(&self) -> String {
        let program = self.words.first().map_or("", String::as_str);
        let output = Command::new(program)
            .arg("--version")
            .stdin(Stdio::null())
            .output();
        output
            .ok()
            .and_then(|output| {
                let text = String::from_utf8_lossy(&output.stdout).into_owned();
                text.lines().next().map(|line| line.trim().to_owned())
            })
            .unwrap_or_else(|| "unknown version".to_owned())
    }

    /// Starts the server on free loopback ports with its data under `home`, and waits until it
    /// answers a linearizable read. Its output goes to `home/log`.
    ///
    /// # Errors
    ///
    /// If it cannot be started or does not answer; the error names the log.
    pub fn start(&self, home: &Path) -> Result<RunningServer> {
        std::fs::create_dir_all(home)?;
        if self.is_tls {
            certify(home).context("making a certificate")?;
        }
        let client = Endpoint::free()?.with_tls(self.is_tls);
        let peer = Endpoint::free()?;
        let log_path = home.join("log");
        let log = File::options().create(true).append(true).open(&log_path)?;
        let (program, arguments) = self.words.split_first().context("an empty command line")?;
        let start = Instant::now();
        let child = Command::new(program)
            .args(arguments)
            .args(flags(home, client, peer))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("starting {program}"))?;
        interrupt::running().insert(child.id());
        let mut server = RunningServer {
            child,
            client,
            log_path,
            ready_after: Duration::ZERO,
            command: self.clone(),
            home: home.to_owned(),
        };
        server.wait_until_ready()?;
        server.ready_after = start.elapsed();
        Ok(server)
    }
}

/// A server that we started; killed when dropped.
#[derive(Debug)]
pub struct RunningServer {
    child: Child,
    client: Endpoint,
    log_path: PathBuf,
    ready_after: Duration,
    command: ServerCommand,
    home: PathBuf,
}

/// How a server ends before it is started again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Ending {
    /// Asked to (SIGTERM).
    Term,
    /// Killed (SIGKILL).
    Kill,
}

impl RunningServer {
    /// Where it listens.
    #[must_use]
    pub fn endpoint(&self) -> Endpoint {
        self.client
    }

    /// Its process.
    #[must_use]
    pub fn process(&self) -> ServerProcess {
        ServerProcess::with_pid(self.child.id())
    }

    /// The directory that holds its data and log.
    #[must_use]
    pub fn home(&self) -> &Path {
        &self.home
    }

    /// The time from its start to its first answer.
    #[must_use]
    pub fn ready_after(&self) -> Duration {
        self.ready_after
    }

    /// Ends it and starts it again with the same data, on other ports.
    ///
    /// # Errors
    ///
    /// As [`ServerCommand::start`], and if it does not end.
    pub fn restart(self, ending: Ending) -> Result<Self> {
        let (command, home) = (self.command.clone(), self.home.clone());
        match ending {
            Ending::Term => self.stop()?,
            Ending::Kill => self.kill()?,
        }
        command.start(&home)
    }

    /// Asks it to end and waits until it has.
    ///
    /// # Errors
    ///
    /// If it does not end; it is then killed.
    pub fn stop(mut self) -> Result<()> {
        self.process().terminate()?;
        let deadline = Instant::now() + END_MAX;
        while Instant::now() < deadline {
            if self.child.try_wait()?.is_some() {
                return self.reap();
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        bail!(
            "the server did not end within {END_MAX:?}, see {}",
            self.log_path.display()
        )
    }

    /// Kills it without a word (SIGKILL).
    ///
    /// # Errors
    ///
    /// If it cannot be killed.
    pub fn kill(mut self) -> Result<()> {
        self.child.kill()?;
        self.reap()
    }

    /// Waits for the end of a process that was killed, or has ended; its id is then anyone's.
    fn reap(&mut self) -> Result<()> {
        interrupt::running().remove(&self.child.id());
        self.child.wait()?;
        Ok(())
    }

    fn wait_until_ready(&mut self) -> Result<()> {
        let slice = Duration::from_secs(1);
        let deadline = Instant::now() + READY_MAX;
        loop {
            let error = match probe::wait_until_ready(self.client, slice) {
                Ok(()) => return Ok(()),
                Err(error) => error,
            };
            if let Some(status) = self.child.try_wait()? {
                bail!(
                    "the server ended with {status}, see {}",
                    self.log_path.display()
                );
            }
            if Instant::now() >= deadline {
                return Err(error.context(format!("see {}", self.log_path.display())));
            }
        }
    }
}

impl Drop for RunningServer {
    fn drop(&mut self) {
        // It may have ended already; nothing more can be done in any case.
        drop(self.child.kill());
        drop(self.reap());
    }
}

/// The flags that etcd and Cairn both take.
fn flags(home: &Path, client: Endpoint, peer: Endpoint) -> Vec<String> {
    let is_tls = client.is_tls();
    let (client, peer) = (client.url(), peer.url());
    let mut flags = vec![
        "--name=bench".to_owned(),
        format!("--data-dir={}", home.join("data").display()),
        format!("--listen-client-urls={client}"),
        format!("--advertise-client-urls={client}"),
        format!("--listen-peer-urls={peer}"),
        format!("--initial-advertise-peer-urls={peer}"),
        format!("--initial-cluster=bench={peer}"),
        "--log-level=warn".to_owned(),
        format!("--quota-backend-bytes={QUOTA_BYTES}"),
    ];
    if is_tls {
        flags.push(format!("--cert-file={}", home.join(CERTIFICATE).display()));
        flags.push(format!("--key-file={}", home.join(KEY).display()));
    }
    flags
}

/// Makes a certificate in `home`, unless there is one. What servers make for themselves differs in its
/// cost, and etcd's is on a curve that not every client knows.
fn certify(home: &Path) -> Result<()> {
    let (certificate, key) = (home.join(CERTIFICATE), home.join(KEY));
    if certificate.exists() {
        return Ok(());
    }
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()])?;
    std::fs::write(key, made.signing_key.serialize_pem())?;
    std::fs::write(certificate, made.cert.pem())?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_line_is_split_at_white_space() {
        let command = ServerCommand::parse(" etcd  --snapshot-count=5 ").unwrap();
        assert_eq!(command.line(), "etcd --snapshot-count=5");
        assert!(ServerCommand::parse("  ").is_err());
    }

    #[test]
    fn a_program_that_ends_at_once_is_reported_with_its_log() {
        let home = tempfile::tempdir().unwrap();
        let error = ServerCommand::parse("false")
            .unwrap()
            .start(home.path())
            .unwrap_err();
        let text = format!("{error:#}");
        assert!(
            text.contains("exit status: 1") && text.contains("log"),
            "{text}"
        );
    }

    #[test]
    fn both_servers_flags_name_only_loopback_addresses() {
        let endpoint: Endpoint = "127.0.0.1:5".parse().unwrap();
        let flags = flags(Path::new("/tmp/x"), endpoint, endpoint);
        assert!(flags.contains(&"--data-dir=/tmp/x/data".to_owned()));
        assert_eq!(
            flags
                .iter()
                .filter(|flag| flag.contains("http://127.0.0.1:5"))
                .count(),
            5
        );
    }
}
