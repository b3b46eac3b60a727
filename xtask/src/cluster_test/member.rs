//! One member: a process that is started, killed, stopped and let go on.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::Duration;

use anyhow::{Context, Result};
use cairn_history::MemberId;
use rustix::process::{Pid, Signal, kill_process};
use tonic::transport::{Channel, Endpoint};

use super::network::Place;
use crate::server_process::ServerCommand;

const CONNECT_MAX: Duration = Duration::from_secs(1);
/// How much of the log an error shows.
const LOG_LINES_SHOWN: usize = 15;

/// A member of the cluster under test; its process dies with it.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) id: MemberId,
    pub(crate) place: Place,
    home: PathBuf,
    server: ServerCommand,
    /// Who was in the cluster when it joined, and whether there was one.
    initial_cluster: String,
    is_new_cluster: bool,
    child: Option<Child>,
    is_paused: bool,
}

/// How a member joins.
pub(crate) struct Joining {
    pub(crate) initial_cluster: String,
    pub(crate) is_new_cluster: bool,
}

/// What its log is called, in its folder.
const LOG: &str = "log";

/// What is in the file of a wall clock that is right.
const TRUE_TIME: &str = "+0s\n";

/// Where a member of a cluster at `home` logs.
pub(crate) fn log_path(home: &Path, id: MemberId) -> PathBuf {
    folder(home, id).join(LOG)
}

fn folder(home: &Path, id: MemberId) -> PathBuf {
    home.join(id.to_string())
}

impl Member {
    pub(crate) fn new(
        id: MemberId,
        place: Place,
        home: &Path,
        server: &ServerCommand,
        joining: Joining,
    ) -> Self {
        Self {
            id,
            place,
            home: folder(home, id),
            server: server.clone(),
            initial_cluster: joining.initial_cluster,
            is_new_cluster: joining.is_new_cluster,
            child: None,
            is_paused: false,
        }
    }

    /// Changes who it says is in the cluster, for a start on an empty directory. Others than there were
    /// at first are in a cluster that there is: a list of them for a new one would be another's.
    pub(crate) fn set_initial_cluster(&mut self, initial_cluster: String) {
        self.is_new_cluster &= self.initial_cluster == initial_cluster;
        self.initial_cluster = initial_cluster;
    }

    /// Its entry in the list of the initial cluster.
    pub(crate) fn initial_entry(id: MemberId, place: &Place) -> String {
        format!("{id}=http://{}", place.peer)
    }

    pub(crate) fn peer_url(&self) -> String {
        format!("http://{}", self.place.peer)
    }

    /// Starts it; whether it answers is another question.
    pub(crate) fn start(&mut self) -> Result<()> {
        self.kill();
        std::fs::create_dir_all(&self.home)?;
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.log_path())?;
        let mut command = self.place.command(&self.server);
        let clock = self.clock_path();
        if !clock.exists() {
            std::fs::write(&clock, TRUE_TIME)?;
        }
        self.server.set_wall_clock(&mut command, &clock);
        let child = command
            .args(self.flags())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("starting {}", self.server.name()))?;
        self.child = Some(child);
        Ok(())
    }

    /// Kills it without a word (SIGKILL).
    pub(crate) fn kill(&mut self) {
        self.is_paused = false;
        if let Some(mut child) = self.child.take() {
            // It may have ended by itself; in any case nothing more can be done.
            drop(child.kill());
            drop(child.wait());
        }
    }

    /// Stops it in whatever it does (SIGSTOP).
    pub(crate) fn pause(&mut self) {
        self.is_paused = self.signal(Signal::STOP);
    }

    /// Sets its wall clock: so many seconds after the time that it is, or before.
    pub(crate) fn set_wall_clock(&self, seconds: i64) -> Result<()> {
        // The file is read at every look at the clock: it is put in place whole.
        let next = self.home.join("clock.next");
        std::fs::write(&next, format!("{seconds:+}s\n"))?;
        std::fs::rename(&next, self.clock_path())?;
        Ok(())
    }

    fn clock_path(&self) -> PathBuf {
        self.home.join("clock")
    }

    /// Lets it go on (SIGCONT).
    pub(crate) fn go_on(&mut self) {
        self.signal(Signal::CONT);
        self.is_paused = false;
    }

    fn signal(&self, signal: Signal) -> bool {
        let pid = self.child.as_ref().map(Child::id);
        let pid = pid.and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?));
        pid.is_some_and(|pid| kill_process(pid, signal).is_ok())
    }

    pub(crate) fn is_paused(&self) -> bool {
        self.is_paused
    }

    /// Whether the process is there, stopped or not; one that ended by itself is not.
    pub(crate) fn is_started(&mut self) -> bool {
        let child = self.child.as_mut();
        child.is_some_and(|child| matches!(child.try_wait(), Ok(None)))
    }

    /// Where it serves clients.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.place.client)
    }

    /// A connection that is made when first used.
    pub(crate) fn channel(&self) -> Result<Channel> {
        let endpoint = Endpoint::from_shared(self.url())?;
        Ok(endpoint.connect_timeout(CONNECT_MAX).connect_lazy())
    }

    /// Copies its directory; where the copy is.
    pub(crate) fn copy_data(&self) -> Result<PathBuf> {
        let copy = self.home.join("copy");
        remove_folder(&copy)?;
        copy_folder(&self.data(), &copy)?;
        Ok(copy)
    }

    /// Puts a copy of its directory in its place, or nothing.
    pub(crate) fn replace_data(&self, copy: Option<&Path>) -> Result<()> {
        remove_folder(&self.data())?;
        copy.map_or(Ok(()), |copy| copy_folder(copy, &self.data()))
    }

    fn data(&self) -> PathBuf {
        self.home.join("data")
    }

    /// The end of what it logged, for an error to show.
    pub(crate) fn log_end(&self) -> String {
        let text = std::fs::read(self.log_path()).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().rev().take(LOG_LINES_SHOWN).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join("\n")
    }

    fn log_path(&self) -> PathBuf {
        self.home.join(LOG)
    }

    fn flags(&self) -> Vec<String> {
        let client = format!("http://{}", self.place.client);
        let peer = self.peer_url();
        let state = if self.is_new_cluster {
            "new"
        } else {
            "existing"
        };
        vec![
            format!("--name={}", self.id),
            format!("--data-dir={}", self.data().display()),
            format!("--listen-client-urls={client}"),
            format!("--advertise-client-urls={client}"),
            format!("--listen-peer-urls={peer}"),
            format!("--initial-advertise-peer-urls={peer}"),
            format!("--initial-cluster={}", self.initial_cluster),
            format!("--initial-cluster-state={state}"),
        ]
    }
}

fn remove_folder(folder: &Path) -> Result<()> {
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}

fn copy_folder(from: &Path, to: &Path) -> Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_folder(&entry.path(), &target)?;
        } else {
            std::fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

impl Drop for Member {
    fn drop(&mut self) {
        self.kill();
    }
}
