//! All clients, one after the other, at one server.

use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

use crate::work::KEYS;

const ROUNDS: usize = 3;
const COUNT: usize = 19_200;
/// What `feed` sends.
const MESSAGES: usize = 1500;

/// A port that nobody listens at.
fn free_port() -> Result<u16> {
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    Ok(listener.local_addr()?.port())
}

/// A server of its own, and its data.
pub struct Server {
    process: std::process::Child,
    _home: TempDir,
    pub url: String,
}

impl Server {
    /// Starts one with a command line that takes etcd's flags.
    pub fn start(command: &[&str]) -> Result<Self> {
        let (program, flags) = command.split_first().context("no server")?;
        let home = tempfile::tempdir()?;
        let port = free_port()?;
        let url = format!("http://127.0.0.1:{port}");
        let peer = format!("http://127.0.0.1:{}", free_port()?);
        let process = std::process::Command::new(program)
            .args(flags)
            .arg("--data-dir")
            .arg(home.path().join("data"))
            .args([
                "--listen-client-urls",
                &url,
                "--advertise-client-urls",
                &url,
            ])
            .args([
                "--listen-peer-urls",
                &peer,
                "--initial-advertise-peer-urls",
                &peer,
            ])
            .args(["--initial-cluster", &format!("default={peer}")])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .with_context(|| format!("starting {program}"))?;
        let server = Self {
            process,
            _home: home,
            url,
        };
        let deadline = Instant::now() + Duration::from_secs(30);
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            ensure!(Instant::now() < deadline, "the server does not start");
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(server)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Processor time of one operation in microseconds, and operations in a second.
#[derive(Clone, Copy)]
struct Cost {
    cpu: f64,
    rate: f64,
}

pub async fn run(server: &[&str]) -> Result<()> {
    let own = std::env::current_exe()?;
    let go = build_go()?;
    let clients = [
        ("cairn-client", &own, Some("cairn")),
        ("etcd-client", &own, Some("etcd")),
        ("clientv3", &go, None),
    ];
    println!(
        "| µs of processor time | {} |",
        clients.map(|it| it.0).join(" | ")
    );
    println!("|---|---:|---:|---:|");
    for a_message in [1, 12, 100] {
        let mut costs: Vec<Vec<Cost>> = vec![Vec::new(); clients.len()];
        for _ in 0..ROUNDS {
            for ((_, program, name), costs) in clients.iter().zip(&mut costs) {
                costs.push(fed(program, *name, &own, a_message).await?);
            }
        }
        println!("| event, {a_message} a message | {} |", medians(costs)?);
    }
    for kind in ["put", "get", "watch"] {
        let mut costs: Vec<Vec<Cost>> = vec![Vec::new(); clients.len()];
        for _ in 0..ROUNDS {
            for (at, (_, program, name)) in clients.iter().enumerate() {
                let server = Server::start(server)?;
                let mut command = Command::new(program);
                command
                    .args(*name)
                    .args([kind, &server.url, &COUNT.to_string()]);
                if kind != "put" {
                    write(&own, &server.url, KEYS).await?;
                }
                let cost = cost(command, kind == "watch", &own, &server.url).await?;
                if let Some(costs) = costs.get_mut(at) {
                    costs.push(cost);
                }
            }
        }
        println!("| {kind} | {} |", medians(costs)?);
    }
    Ok(())
}

/// The medians of the clients' costs, as cells of a row.
fn medians(costs: Vec<Vec<Cost>>) -> Result<String> {
    let shown: Result<Vec<String>> = costs
        .into_iter()
        .map(|mut costs| {
            costs.sort_by(|a, b| a.cpu.total_cmp(&b.cpu));
            let median = costs.get(costs.len() / 2).context("no run")?;
            Ok(format!("{:.2} ({:.0}/s)", median.cpu, median.rate))
        })
        .collect();
    Ok(shown?.join(" | "))
}

/// Runs a client that watches what `feed` tells it.
async fn fed(
    program: &PathBuf,
    name: Option<&str>,
    own: &PathBuf,
    a_message: usize,
) -> Result<Cost> {
    let address = format!("127.0.0.1:{}", free_port()?);
    let count = MESSAGES * a_message;
    let mut feed = Command::new(own);
    feed.args(["feed", &address, &a_message.to_string(), &count.to_string()]);
    let mut feed = feed.kill_on_drop(true).spawn()?;
    let deadline = Instant::now() + Duration::from_secs(30);
    while TcpStream::connect(&address).is_err() {
        ensure!(Instant::now() < deadline, "the feed does not start");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let mut command = Command::new(program);
    command
        .args(name)
        .args(["watch", &format!("http://{address}"), &count.to_string()]);
    let mut child = command.stdout(Stdio::piped()).kill_on_drop(true).spawn()?;
    let mut lines = BufReader::new(child.stdout.take().context("no stdout")?).lines();
    let ready = lines.next_line().await?;
    ensure!(ready.as_deref() == Some("ready"), "{command:?}");
    let cost = cost_of(&mut child, &mut lines).await?;
    feed.kill().await?;
    Ok(cost)
}

/// Runs a client; once it watches, another process writes.
async fn cost(mut command: Command, is_watch: bool, own: &PathBuf, url: &str) -> Result<Cost> {
    let mut child: Child = command.stdout(Stdio::piped()).kill_on_drop(true).spawn()?;
    let mut lines = BufReader::new(child.stdout.take().context("no stdout")?).lines();
    if is_watch {
        ensure!(
            lines.next_line().await?.as_deref() == Some("ready"),
            "{command:?}"
        );
        write(own, url, COUNT).await?;
    }
    cost_of(&mut child, &mut lines).await
}

async fn cost_of(child: &mut Child, lines: &mut Lines<BufReader<ChildStdout>>) -> Result<Cost> {
    let line = lines.next_line().await?.context("a client says nothing")?;
    let (cpu, rate) = line.split_once(' ').context("no result")?;
    ensure!(child.wait().await?.success(), "a client failed");
    Ok(Cost {
        cpu: cpu.parse()?,
        rate: rate.parse()?,
    })
}

async fn write(own: &PathBuf, url: &str, count: usize) -> Result<()> {
    let mut writer = Command::new(own);
    writer.args([
        "cairn",
        "put",
        url,
        &count.next_multiple_of(crate::work::TASKS).to_string(),
    ]);
    let status = writer.stdout(Stdio::null()).status().await?;
    ensure!(status.success(), "the writer failed");
    Ok(())
}

fn build_go() -> Result<PathBuf> {
    let source = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("go");
    let built = std::env::current_exe()?.with_file_name("clientv3-bench");
    let mut build = std::process::Command::new("go");
    build
        .args(["build", "-o"])
        .arg(&built)
        .arg(".")
        .current_dir(source);
    ensure!(
        build.status().context("starting go")?.success(),
        "go does not build"
    );
    Ok(built)
}
