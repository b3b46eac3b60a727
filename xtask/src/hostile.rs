//! `cargo xtask hostile`: hostile clients of each kind, on the plain port and the TLS port of one
//! server, beside an ordinary one that puts every 10 ms.
//!
//! It fails for what is no matter of time: a server that ends, an ordinary client that is refused,
//! memory without bound, a hostile client that is not told what it does wrong, a metric that does not
//! count it. How long the ordinary client waits is shown beside what it waited just before.

mod attack;
mod caller;
mod crowds;
mod floods;
mod frames;
mod port;
mod pulse;
mod requests;
mod tally;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use cairn_proto::etcdserverpb::PutRequest;
use cairn_proto::etcdserverpb::kv_client::KvClient;
use cairn_testbed::ports::free_address;
use clap::{Args, ValueEnum};
use rustix::process::{Resource, getrlimit, setrlimit};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;

use self::attack::Attack;
use self::port::Port;
use self::pulse::{Beats, Pulse};
use self::requests::{LARGE_KEYS, LARGE_PREFIX, LARGE_VALUE_BYTES};
use self::tally::Tally;
use crate::certificates::Certificates;
use crate::outcome::Outcome;
use crate::server_process::{ServerCommand, ServerProcess};
use crate::workspace::Workspace;

/// What a server may grow by, whatever its clients do: the budgets of unread answers and of requests
/// under way, and 10,000 connections.
const GROWTH_BYTES_MAX: u64 = 1 << 30;
/// How often memory is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// The ordinary client's address, so that hostile ones do not take its ports.
const ORDINARY: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));
/// Hostile clients give way to the server on whose machine they are.
const HOSTILE_NICE: i32 = 5;
/// What must come of an attack may take so much longer than it was to last, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
const MIB: u64 = 1 << 20;

/// How long each kind of client is hostile, and to whom.
#[derive(Args, Clone, Debug)]
pub(crate) struct Hostile {
    /// The server: a command line; this workspace's if not given, built for release.
    #[arg(long, value_name = "COMMAND")]
    server: Option<String>,
    /// How long each attack lasts; the ordinary client is alone for a quarter of it before.
    #[arg(long, default_value_t = 60.0)]
    seconds: f64,
    /// Only these, with commas between them.
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Attack>,
    /// Whether to use this workspace's debug build.
    #[arg(skip)]
    is_short: bool,
}

/// What one attack came to.
struct Trial {
    quiet: Beats,
    beats: Beats,
    grown_bytes: u64,
    told: Tally,
    counted: Option<u64>,
    failures: Vec<String>,
}

impl Hostile {
    /// What every change is checked with.
    pub(crate) fn short() -> Self {
        Self {
            server: None,
            seconds: 1.0,
            only: Vec::new(),
            is_short: true,
        }
    }

    pub(crate) async fn run(&self, workspace: &Workspace) -> Result<Outcome> {
        raise_descriptor_limit()?;
        let home = tempfile::tempdir().context("making a folder for the server's data")?;
        let certificates = Certificates::make(&home.path().join("certificates"), &[])?;
        let secured = free_address()?;
        let mut server = self
            .start(workspace, home.path(), &certificates, secured)
            .await?;
        fill(&server).await?;
        let ports = [
            Port::plain(server.address()),
            Port::secured(secured, &certificates)?,
        ];
        let all = Attack::value_variants().iter().copied();
        let attacks: Vec<Attack> = all
            .filter(|attack| self.only.is_empty() || self.only.contains(attack))
            .collect();
        println!("{HEAD}");
        let mut has_failed = false;
        for port in &ports {
            for &attack in &attacks {
                let trial = self.attack(&mut server, port, attack).await;
                let trial = trial.with_context(|| {
                    let log = server.log_end();
                    format!("{} on the {} port; log:\n{log}", attack.name(), port.name())
                })?;
                println!("{}", trial.line(port, attack));
                for failure in &trial.failures {
                    has_failed = true;
                    println!("  FAILED: {failure}");
                }
            }
        }
        Ok(if has_failed {
            Outcome::Failed
        } else {
            Outcome::Passed
        })
    }

    async fn start(
        &self,
        workspace: &Workspace,
        home: &std::path::Path,
        certificates: &Certificates,
        secured: SocketAddr,
    ) -> Result<ServerProcess> {
        let command = match &self.server {
            Some(line) => ServerCommand::parse(line)?,
            None if self.is_short => ServerCommand::program(workspace.build_server()?),
            None => ServerCommand::program(release_server(workspace)?),
        };
        let command = command
            .flag(format!(
                "--cert-file={}",
                certificates.certificate("server").display()
            ))
            .flag(format!(
                "--key-file={}",
                certificates.key("server").display()
            ))
            .listening_at(format!("https://{secured}"));
        command.start(&home.join("server")).await
    }

    async fn attack(
        &self,
        server: &mut ServerProcess,
        port: &Port,
        attack: Attack,
    ) -> Result<Trial> {
        let lasting = Duration::try_from_secs_f64(self.seconds)?;
        let ordinary = port.clone().from(ORDINARY);
        let quiet = Pulse::start(ordinary.clone())?;
        tokio::time::sleep(lasting / 4).await;
        let quiet = quiet.end()?;

        let consequence = attack.consequence(port.is_secured());
        let address = server.address();
        let counted = async || match consequence.counted {
            Some(counted) => Ok::<_, anyhow::Error>(Some(metric(address, counted).await?)),
            None => Ok(None),
        };
        let before = counted().await?;
        let memory_before = memory_bytes(server)?;
        let told = Tally::default();
        let pulse = Pulse::start(ordinary)?;
        let until = Instant::now() + lasting;
        let hostile = Loose::let_loose(attack, port.clone(), told.clone())?;
        let mut memory_peak = memory_before;
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            memory_peak = memory_peak.max(memory_bytes(server)?);
            let now = Instant::now();
            let is_missing = lasting >= consequence.after
                && consequence.told.is_some_and(|words| told.with(words) == 0);
            if now >= until + PATIENCE || now >= until && !is_missing {
                break;
            }
        }
        hostile.end()?;
        let beats = pulse.end()?;
        let counted = counted()
            .await?
            .zip(before)
            .map(|(after, before)| after - before);
        let mut trial = Trial {
            quiet,
            beats,
            grown_bytes: memory_peak.saturating_sub(memory_before),
            told,
            counted,
            failures: Vec::new(),
        };
        trial.judge(&consequence, lasting);
        Ok(trial)
    }
}

/// The titles of [`Trial::line`].
const HEAD: &str =
    "port  attack               p99 quiet  p99 beside  ratio  newcomer max  memory  told; counted";

impl Trial {
    fn judge(&mut self, consequence: &attack::Consequence, lasting: Duration) {
        let mut failures = Vec::new();
        for (beats, when) in [(&self.quiet, "before"), (&self.beats, "beside")] {
            if let Some(first) = beats.failures.first() {
                let count = beats.failures.len();
                failures.push(format!(
                    "{count} ordinary puts failed {when} it, first: {first}"
                ));
            }
        }
        if self.grown_bytes > GROWTH_BYTES_MAX {
            failures.push(format!("memory grew by {} MiB", self.grown_bytes / MIB));
        }
        if lasting >= consequence.after {
            if let Some(told) = consequence.told.filter(|told| self.told.with(told) == 0) {
                failures.push(format!("nobody was told {told:?}"));
            }
            if self.counted == Some(0) {
                failures.push("no metric counted it".to_owned());
            }
        }
        self.failures = failures;
    }

    fn line(&self, port: &Port, attack: Attack) -> String {
        let (quiet, beside) = (self.quiet.puts.summary(), self.beats.puts.summary());
        let (quiet_ms, beside_ms) = (quiet.p99_us / 1000.0, beside.p99_us / 1000.0);
        let counted = self.counted.map(|counted| format!("; counted {counted}"));
        format!(
            "{:<5} {:<20} {quiet_ms:>6.1} ms  {beside_ms:>7.1} ms  {:>5.1}  {:>9.1} ms  {:>3} MiB  {}{}",
            port.name(),
            attack.name(),
            beside_ms / quiet_ms.max(f64::MIN_POSITIVE),
            self.beats.newcomers.summary().max_us / 1000.0,
            self.grown_bytes / MIB,
            self.told,
            counted.unwrap_or_default(),
        )
    }
}

/// Hostile clients, on a thread of their own.
struct Loose {
    end: oneshot::Sender<()>,
    thread: std::thread::JoinHandle<Result<()>>,
}

impl Loose {
    fn let_loose(attack: Attack, port: Port, told: Tally) -> Result<Self> {
        let (end, ended) = oneshot::channel::<()>();
        let hostile = move || {
            rustix::process::nice(HOSTILE_NICE)?;
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            runtime.block_on(async {
                tokio::select! {
                    () = attack.run(port, told) => {}
                    _ = ended => {}
                }
            });
            Ok(())
        };
        let thread = std::thread::Builder::new().name("hostile".to_owned());
        let thread = thread.spawn(hostile)?;
        Ok(Self { end, thread })
    }

    fn end(self) -> Result<()> {
        drop(self.end);
        let ended = self.thread.join();
        ended.map_err(|_| anyhow!("a hostile client panicked"))?
    }
}

/// Stores what readers will ask for.
async fn fill(server: &ServerProcess) -> Result<()> {
    let mut kv = KvClient::new(server.channel()?);
    for number in 0..LARGE_KEYS {
        let put = PutRequest {
            key: format!("{LARGE_PREFIX}{number:03}").into(),
            value: vec![1; LARGE_VALUE_BYTES].into(),
            ..PutRequest::default()
        };
        kv.put(put).await?;
    }
    Ok(())
}

/// The sum of all series of a metric, as [`Attack::counts`] tells them.
async fn metric(address: SocketAddr, counted: &str) -> Result<u64> {
    let mut socket = TcpStream::connect(address).await?;
    let request = "GET /metrics HTTP/1.1\r\nHost: hostile\r\nConnection: close\r\n\r\n";
    socket.write_all(request.as_bytes()).await?;
    let mut page = String::new();
    socket.read_to_string(&mut page).await?;
    let series = page.lines().filter(|line| Attack::counts(counted, line));
    let counts = series.map(|line| {
        let count = line.rsplit_once(' ').map(|(_, count)| count.parse::<f64>());
        count.and_then(Result::ok).unwrap_or_default()
    });
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a count"
    )]
    Ok(counts.sum::<f64>() as u64)
}

/// The memory of the server, but for what it maps of files.
fn memory_bytes(server: &mut ServerProcess) -> Result<u64> {
    let Some(id) = server.process_id() else {
        bail!("the server has ended");
    };
    let status = std::fs::read_to_string(format!("/proc/{id}/status"))?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("RssAnon:"));
    let kilobytes = line.context("no memory in the process's status")?;
    let kilobytes: u64 = kilobytes.trim().trim_end_matches(" kB").parse()?;
    Ok(kilobytes * 1024)
}

/// Lets this process, and the server it starts, open as many sockets as the system allows.
fn raise_descriptor_limit() -> Result<()> {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    Ok(setrlimit(Resource::Nofile, limit)?)
}

/// Builds what is measured.
fn release_server(workspace: &Workspace) -> Result<PathBuf> {
    let build = "build --release --locked --package cairn-server --bin cairn";
    crate::workspace::run(&mut workspace.cargo(build.split(' ')))?;
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(
        || workspace.root().join("target"),
        |dir| workspace.root().join(dir),
    );
    Ok(target.join("release/cairn"))
}
