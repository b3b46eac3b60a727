//! Servers for tests: processes on ports of their own, killed when dropped.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use cairn_client::{Client, ConnectOptions, Tls};
use cairn_testbed::ports::free_address;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// How long anything may take on a machine that is busy with other tests.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Passwords that cost little, and a member that is alone and leads at once.
const QUICK: [&str; 6] = [
    "--bcrypt-cost",
    "4",
    "--heartbeat-interval",
    "20",
    "--election-timeout",
    "200",
];

/// Builds this workspace's server.
fn build() -> PathBuf {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let built = Command::new(cargo)
        .args(["build", "--quiet", "-p", "cairn-server", "--bin", "cairn"])
        .status()
        .unwrap();
    assert!(built.success(), "the server does not build");
    // Tests are in `target/PROFILE/deps`, and the server is built for `dev`.
    let test = std::env::current_exe().unwrap();
    test.ancestors().nth(3).unwrap().join("debug/cairn")
}

/// What to start.
#[derive(Clone, Debug)]
pub(crate) struct Program {
    pub(crate) name: String,
    path: PathBuf,
}

impl Program {
    /// The server that `CAIRN_SERVER` names, or this workspace's, built if need be.
    pub(crate) fn cairn() -> Self {
        static PATH: OnceLock<PathBuf> = OnceLock::new();
        let path = PATH.get_or_init(|| match std::env::var_os("CAIRN_SERVER") {
            Some(path) => path.into(),
            None => build(),
        });
        Self {
            name: "cairn".to_owned(),
            path: path.clone(),
        }
    }

    /// Whether it serves v2 keys, with `--enable-v2`.
    pub(crate) fn has_v2(&self) -> bool {
        self.is_etcd("3.4") || self.is_etcd("3.5")
    }

    /// Whether it is an etcd of these versions.
    pub(crate) fn is_etcd(&self, version: &str) -> bool {
        let wanted = format!("etcd Version: {version}");
        let version = Command::new(&self.path).arg("--version").output().unwrap();
        let version = String::from_utf8_lossy(&version.stdout).into_owned();
        version.contains(&wanted)
    }

    /// Every server that there is: Cairn and the etcds.
    pub(crate) fn all() -> Vec<Self> {
        std::iter::once(Self::cairn())
            .chain(Self::etcds())
            .collect()
    }

    /// The etcd on the path, and those that the variable `CAIRN_TEST_ETCDS` names, with colons
    /// between them.
    pub(crate) fn etcds() -> impl Iterator<Item = Self> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let installed = std::env::split_paths(&path).map(|folder| folder.join("etcd"));
        let installed = installed.filter(|path| path.is_file()).take(1);
        let named = std::env::var_os("CAIRN_TEST_ETCDS").unwrap_or_default();
        let named = std::env::split_paths(&named).filter(|path| path.is_file());
        let found: Vec<PathBuf> = installed.chain(named).collect();
        found.into_iter().map(|path| Self {
            name: path.display().to_string(),
            path,
        })
    }
}

/// One member.
pub(crate) struct Member {
    pub(crate) url: String,
    program: PathBuf,
    arguments: Vec<String>,
    process: Option<Child>,
}

/// Members of one cluster, and their data.
pub(crate) struct Servers {
    pub(crate) members: Vec<Member>,
    /// Of clients that are let in.
    tls: Option<Tls>,
    _home: TempDir,
}

impl Servers {
    /// Starts a cluster and waits until it serves.
    pub(crate) async fn start(program: &Program, count: usize, flags: &[&str]) -> Self {
        Self::start_with(program, count, flags, None).await
    }

    /// The same with flags of TLS, for clients like this.
    pub(crate) async fn start_with(
        program: &Program,
        count: usize,
        flags: &[&str],
        tls: Option<Tls>,
    ) -> Self {
        let scheme = if tls.is_some() { "https" } else { "http" };
        let home = tempfile::tempdir().unwrap();
        let port = || free_address().unwrap().port();
        let ports: Vec<(u16, u16)> = (0..count).map(|_| (port(), port())).collect();
        let initial: Vec<String> = ports
            .iter()
            .enumerate()
            .map(|(at, (_, peer))| format!("m{at}=http://127.0.0.1:{peer}"))
            .collect();
        let member = |(at, (client, peer)): (usize, &(u16, u16))| {
            let url = format!("{scheme}://127.0.0.1:{client}");
            let peer = format!("http://127.0.0.1:{peer}");
            let data = home.path().join(format!("m{at}")).display().to_string();
            let mut arguments: Vec<String> = [
                ("--name", format!("m{at}")),
                ("--data-dir", data),
                ("--listen-client-urls", url.clone()),
                ("--advertise-client-urls", url.clone()),
                ("--listen-peer-urls", peer.clone()),
                ("--initial-advertise-peer-urls", peer),
                ("--initial-cluster", initial.join(",")),
            ]
            .into_iter()
            .flat_map(|(flag, value)| [flag.to_owned(), value])
            .collect();
            let quick = if count == 1 { &QUICK[..] } else { &QUICK[..2] };
            arguments.extend(quick.iter().chain(flags).map(|&flag| flag.to_owned()));
            let mut member = Member {
                url,
                program: program.path.clone(),
                arguments,
                process: None,
            };
            member.start();
            member
        };
        let servers = Self {
            members: ports.iter().enumerate().map(member).collect(),
            tls,
            _home: home,
        };
        servers.wait_until_serving().await;
        servers
    }

    /// One member of its own cluster.
    pub(crate) async fn one(program: &Program) -> Self {
        Self::start(program, 1, &[]).await
    }

    pub(crate) fn urls(&self) -> Vec<String> {
        self.members
            .iter()
            .map(|member| member.url.clone())
            .collect()
    }

    pub(crate) fn options(&self) -> ConnectOptions {
        let options = ConnectOptions::new(self.urls()).unwrap();
        let options = options.request_timeout(PATIENCE);
        match &self.tls {
            Some(tls) => options.tls(tls.clone()),
            None => options,
        }
    }

    pub(crate) async fn client(&self) -> Client {
        self.options().connect().await.unwrap()
    }

    pub(crate) async fn wait_until_serving(&self) {
        for url in self.urls() {
            let client = self.options().connect_lazy().only(&url).unwrap();
            let deadline = Instant::now() + PATIENCE;
            while let Err(error) = client.get("ready?").await {
                assert!(Instant::now() < deadline, "{url}: {error}");
            }
        }
    }
}

impl Member {
    pub(crate) fn start(&mut self) {
        let process = Command::new(&self.program)
            .args(&self.arguments)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        self.process = Some(process);
    }

    /// Stops it where it is, as SIGSTOP does.
    pub(crate) fn pause(&self) {
        self.signal(Signal::STOP);
    }

    /// Lets it run on.
    pub(crate) fn go_on(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        let id = self.process.as_ref().unwrap().id();
        let id = Pid::from_raw(i32::try_from(id).unwrap()).unwrap();
        kill_process(id, signal).unwrap();
    }

    /// Kills it as `kill -9` does.
    pub(crate) fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().unwrap();
            process.wait().unwrap();
        }
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.kill();
    }
}
