//! A server process for a test: started on a port of its own, killed when dropped.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use cairn_proto::etcdserverpb::cluster_client::ClusterClient;
use cairn_proto::etcdserverpb::kv_client::KvClient;
use cairn_proto::etcdserverpb::maintenance_client::MaintenanceClient;
use cairn_proto::etcdserverpb::watch_client::WatchClient;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tonic::transport::{Channel, Endpoint};

use crate::http_client::Gateway;
use crate::plain_words::assert_plain;

/// How long anything may take on a machine that is busy with other tests.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Where a server's data is, and how it is started.
pub(crate) struct Place {
    directory: TempDir,
    flags: Vec<String>,
    variables: Vec<(String, String)>,
}

/// A running server.
pub(crate) struct Server {
    process: Child,
    address: SocketAddr,
    log: Log,
    place: Option<Place>,
}

/// A server that did not start.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) status: ExitStatus,
    pub(crate) log: String,
}

/// A server that has ended by itself.
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    pub(crate) place: Place,
    pub(crate) log: String,
}

/// Clients of one connection.
#[derive(Clone)]
pub(crate) struct Clients {
    pub(crate) channel: Channel,
    pub(crate) kv: KvClient<Channel>,
    pub(crate) watch: WatchClient<Channel>,
    pub(crate) maintenance: MaintenanceClient<Channel>,
    pub(crate) cluster: ClusterClient<Channel>,
    /// Where calls of no particular method go, if not over the channel.
    pub(crate) gateway: Option<Gateway>,
}

type Log = Arc<Mutex<String>>;

impl Place {
    pub(crate) fn new(flags: &[&str]) -> Self {
        Self {
            directory: tempfile::tempdir().unwrap(),
            flags: flags.iter().map(|&flag| flag.to_owned()).collect(),
            variables: Vec::new(),
        }
    }

    /// The same, in an environment that has these variables too.
    pub(crate) fn with_variables(mut self, variables: &[(&str, &str)]) -> Self {
        let variables = variables.iter();
        self.variables
            .extend(variables.map(|&(name, value)| (name.to_owned(), value.to_owned())));
        self
    }

    pub(crate) fn data_dir(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    /// Starts a server here, and returns when it serves.
    pub(crate) fn start(self) -> Server {
        match self.try_start() {
            Ok((process, address, log)) => Server {
                process,
                address,
                log,
                place: Some(self),
            },
            Err(refusal) => panic!("the server did not start: {refusal:?}"),
        }
    }

    /// The same with further flags, which count for more than those before.
    pub(crate) fn start_with(mut self, flags: &[String]) -> Server {
        self.flags.extend_from_slice(flags);
        self.start()
    }

    /// Has it started with further flags from now on.
    pub(crate) fn add_flags(&mut self, flags: &[&str]) {
        self.flags.extend(flags.iter().map(|&flag| flag.to_owned()));
    }

    /// Starts a server that cannot start here, and returns what it said.
    pub(crate) fn refusal(&self) -> Refusal {
        match self.try_start() {
            Ok((mut process, _, log)) => {
                process.kill().unwrap();
                panic!("the server started: {}", log.lock().unwrap());
            }
            Err(refusal) => refusal,
        }
    }

    fn try_start(&self) -> Result<(Child, SocketAddr, Log), Refusal> {
        let mut process = Command::new(binary())
            .arg("--data-dir")
            .arg(self.data_dir())
            .args(["--listen-client-urls", "http://127.0.0.1:0"])
            .args(["--advertise-client-urls", "http://127.0.0.1:0"])
            .args(["--listen-peer-urls", "http://127.0.0.1:0"])
            .args(&self.flags)
            .envs(self.variables.iter().cloned())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = Log::default();
        let ready = follow(process.stderr.take().unwrap(), Arc::clone(&log));
        match ready.recv_timeout(PATIENCE) {
            Ok(address) => Ok((process, address, log)),
            Err(mpsc::RecvTimeoutError::Timeout) => {
                let _ = process.kill();
                panic!("not ready in time: {}", log.lock().unwrap());
            }
            Err(mpsc::RecvTimeoutError::Disconnected) => {
                let (status, log) = (process.wait().unwrap(), log.lock().unwrap().clone());
                assert_plain(&log);
                Err(Refusal { status, log })
            }
        }
    }
}

impl Server {
    /// A new server with further flags.
    pub(crate) fn start(flags: &[&str]) -> Self {
        Place::new(flags).start()
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    pub(crate) fn data_dir(&self) -> PathBuf {
        self.place.as_ref().map(Place::data_dir).unwrap()
    }

    /// The most memory that the process has ever had, what it maps of files included.
    pub(crate) fn memory_peak_bytes(&self) -> u64 {
        self.memory("VmHWM:")
    }

    /// Begins the count of [`Self::memory_peak_bytes`] anew.
    pub(crate) fn reset_memory_peak(&self) {
        std::fs::write(format!("/proc/{}/clear_refs", self.process.id()), "5").unwrap();
    }

    /// The memory of the process, but for what it maps of files.
    pub(crate) fn memory_bytes(&self) -> u64 {
        self.memory("RssAnon:")
    }

    fn memory(&self, what: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id()));
        let status = status.unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(what));
        let kilobytes = line.unwrap().trim().trim_end_matches(" kB");
        kilobytes.parse::<u64>().unwrap() * 1024
    }

    /// Clients on a connection of their own.
    pub(crate) async fn clients(&self) -> Clients {
        clients_at(self.address).await
    }

    /// The same, whose calls of no particular method go through the JSON gateway.
    pub(crate) async fn clients_in_json(&self) -> Clients {
        Clients {
            gateway: Some(Gateway::of(self.address)),
            ..self.clients().await
        }
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let id = Pid::from_raw(i32::try_from(self.process.id()).unwrap()).unwrap();
        kill_process(id, signal).unwrap();
    }

    /// Kills the process as `kill -9` does.
    pub(crate) fn kill(mut self) -> Place {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
        self.place.take().unwrap()
    }

    /// Stops the process as SIGTERM does: what is buffered is in the database then.
    pub(crate) fn stop(self) -> Place {
        self.signal(Signal::TERM);
        self.ended().1
    }

    /// Waits until the process has ended by itself; with all that it said.
    pub(crate) fn log_when_ended(self) -> Ended {
        let log = Arc::clone(&self.log);
        let (status, place) = self.ended();
        // Its last lines are on their way.
        let deadline = Instant::now() + PATIENCE;
        while Arc::strong_count(&log) > 1 && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(10));
        }
        let log = log.lock().unwrap().clone();
        Ended { status, place, log }
    }

    /// Waits until the process has ended by itself.
    pub(crate) fn ended(mut self) -> (ExitStatus, Place) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.process.try_wait().unwrap() {
                return (status, self.place.take().unwrap());
            }
            assert!(Instant::now() < deadline, "still running: {}", self.log());
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        if !std::thread::panicking() {
            assert_plain(&self.log());
        }
    }
}

/// Clients on a connection of their own to whatever listens there.
pub(crate) async fn clients_at(address: SocketAddr) -> Clients {
    let endpoint = Endpoint::from_shared(format!("http://{address}")).unwrap();
    let channel = endpoint.connect().await.unwrap();
    Clients {
        kv: KvClient::new(channel.clone()).max_decoding_message_size(usize::MAX),
        watch: WatchClient::new(channel.clone()).max_decoding_message_size(usize::MAX),
        maintenance: MaintenanceClient::new(channel.clone()),
        cluster: ClusterClient::new(channel.clone()),
        channel,
        gateway: None,
    }
}

/// Says that a test cannot run here.
#[expect(clippy::print_stderr, reason = "a test that is skipped says so")]
pub(crate) fn skipped(why: &str) {
    eprintln!("skipped: {why}");
}

/// Waits until `condition` holds.
pub(crate) async fn until(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition().await {
        assert!(Instant::now() < deadline, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

pub(crate) fn binary() -> PathBuf {
    std::env::var_os("CAIRN_TEST_SERVER").map_or_else(
        || Path::new(env!("CARGO_BIN_EXE_cairn")).to_owned(),
        PathBuf::from,
    )
}

/// Collects a server's log, and tells its address when it is ready for clients.
fn follow(stderr: ChildStderr, log: Log) -> mpsc::Receiver<SocketAddr> {
    let (ready, receiver) = mpsc::channel();
    let work = move || {
        // Servers differ in which of the two lines comes first.
        let (mut address, mut is_ready) = (None, false);
        for line in BufReader::new(stderr).lines().map_while(Result::ok) {
            log.lock().unwrap().push_str(&format!("{line}\n"));
            let Ok(line) = serde_json::from_str::<serde_json::Value>(&line) else {
                continue;
            };
            let text = line["msg"].as_str().unwrap_or_default();
            if text.starts_with("serving client traffic") {
                address = line["address"].as_str().and_then(|it| it.parse().ok());
            }
            is_ready |= text == "ready to serve client requests";
            if let Some(address) = address.filter(|_| is_ready) {
                let _ = ready.send(address);
            }
        }
    };
    std::thread::Builder::new()
        .name("server-log".to_owned())
        .spawn(work)
        .unwrap();
    receiver
}
