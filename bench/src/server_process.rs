//! What the server under load costs: its processor time and memory, read from `/proc`.

use std::collections::HashSet;
use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};

use crate::endpoint::Endpoint;

/// A running process, looked at from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerProcess {
    pid: u32,
}

impl ServerProcess {
    /// The process with this id.
    #[must_use]
    pub fn with_pid(pid: u32) -> Self {
        Self { pid }
    }

    /// This process itself: the generator's own cost.
    #[must_use]
    pub fn own() -> Self {
        Self {
            pid: std::process::id(),
        }
    }

    /// The process that listens on an endpoint's port, if it is ours to see.
    #[must_use]
    pub fn listening_on(endpoint: Endpoint) -> Option<Self> {
        let port = endpoint.address().port();
        let mut sockets = HashSet::new();
        for table in ["/proc/net/tcp", "/proc/net/tcp6"] {
            if let Ok(text) = fs::read_to_string(table) {
                sockets.extend(listening_inodes(&text, port));
            }
        }
        fs::read_dir("/proc").ok()?.flatten().find_map(|entry| {
            let pid = entry.file_name().to_str()?.parse().ok()?;
            holds_socket(&entry.path(), &sockets).then_some(Self { pid })
        })
    }

    /// The process id.
    #[must_use]
    pub fn pid(self) -> u32 {
        self.pid
    }

    /// Its use of the machine up to now.
    ///
    /// # Errors
    ///
    /// If the process is gone, or `/proc` is not Linux's.
    pub fn usage(self) -> Result<Usage> {
        let read = |name: &str| {
            let path = format!("/proc/{}/{name}", self.pid);
            fs::read_to_string(&path).with_context(|| format!("reading {path}"))
        };
        let ticks = cpu_ticks(&read("stat")?).context("unexpected form of /proc/PID/stat")?;
        let status = read("status")?;
        let kib = |field| status_kib(&status, field);
        Ok(Usage {
            cpu: Duration::from_millis(ticks * 1000 / rustix::param::clock_ticks_per_second()),
            resident_bytes: kib("VmRSS:").unwrap_or(0) * 1024,
            anonymous_bytes: kib("RssAnon:").unwrap_or(0) * 1024,
            peak_bytes: kib("VmHWM:").unwrap_or(0) * 1024,
        })
    }

    /// Asks the process to end (SIGTERM).
    ///
    /// # Errors
    ///
    /// If there is no such process, or it is not ours.
    pub fn terminate(self) -> Result<()> {
        self.signal(Signal::TERM)
    }

    /// Ends the process without a word (SIGKILL).
    ///
    /// # Errors
    ///
    /// As [`ServerProcess::terminate`].
    pub fn kill(self) -> Result<()> {
        self.signal(Signal::KILL)
    }

    fn signal(self, signal: Signal) -> Result<()> {
        let pid = i32::try_from(self.pid).ok().and_then(Pid::from_raw);
        let pid = pid.with_context(|| format!("{} is not a process id", self.pid))?;
        kill_process(pid, signal).with_context(|| format!("signalling process {}", self.pid))
    }
}

/// A process's use of the machine, since its start or between two moments.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Processor time, in user and kernel mode (to 10 ms).
    pub cpu: Duration,
    /// Resident memory, file pages included.
    pub resident_bytes: u64,
    /// Resident memory that is not a page of a file.
    pub anonymous_bytes: u64,
    /// The most that was ever resident.
    pub peak_bytes: u64,
}

impl Usage {
    /// What several processes use together; `None` of none.
    ///
    /// # Errors
    ///
    /// As [`ServerProcess::usage`].
    pub fn of_all(processes: &[ServerProcess]) -> Result<Option<Self>> {
        let Some((first, others)) = processes.split_first() else {
            return Ok(None);
        };
        let mut total = first.usage()?;
        for process in others {
            let usage = process.usage()?;
            total.cpu += usage.cpu;
            total.resident_bytes += usage.resident_bytes;
            total.anonymous_bytes += usage.anonymous_bytes;
            total.peak_bytes += usage.peak_bytes;
        }
        Ok(Some(total))
    }
}

fn listening_inodes(table: &str, port: u16) -> Vec<u64> {
    const LISTEN: &str = "0A";
    let wanted = format!("{port:04X}");
    let inode = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let (_, port) = fields.get(1)?.rsplit_once(':')?;
        let listens = *fields.get(3)? == LISTEN && port == wanted;
        if listens {
            fields.get(9)?.parse().ok()
        } else {
            None
        }
    };
    table.lines().skip(1).filter_map(inode).collect()
}

fn holds_socket(process: &Path, sockets: &HashSet<u64>) -> bool {
    let Ok(entries) = fs::read_dir(process.join("fd")) else {
        return false;
    };
    entries.flatten().any(|entry| {
        let Ok(target) = fs::read_link(entry.path()) else {
            return false;
        };
        let inode = target.to_str().and_then(|text| {
            text.strip_prefix("socket:[")?
                .strip_suffix(']')?
                .parse()
                .ok()
        });
        inode.is_some_and(|inode| sockets.contains(&inode))
    })
}

/// User and system time: fields 14 and 15, counted after the name, which may hold anything.
fn cpu_ticks(stat: &str) -> Option<u64> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

fn status_kib(status: &str, field: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(field))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn processor_time_is_read_past_a_name_with_spaces_and_brackets() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194560 1 0 0 0 12 30 0 0 20 0 1 0 5 0 0";
        assert_eq!(cpu_ticks(stat), Some(42));
        assert_eq!(cpu_ticks("7 (short) S 1"), None);
    }

    #[test]
    fn memory_fields_are_found_by_name() {
        let status = "Name:\tx\nVmHWM:\t    2048 kB\nVmRSS:\t    1024 kB\n";
        assert_eq!(status_kib(status, "VmHWM:"), Some(2048));
        assert_eq!(status_kib(status, "VmSwap:"), None);
    }

    #[test]
    fn only_listening_sockets_of_the_port_are_taken() {
        let table = "head\n 0: 0100007F:094B 00000000:0000 0A 0:0 0:0 0 0 0 4711 1\n \
                     1: 0100007F:094B 0100007F:9999 01 0:0 0:0 0 0 0 4712 1\n";
        assert_eq!(listening_inodes(table, 2379), [4711]);
        assert!(listening_inodes(table, 2380).is_empty());
    }

    #[test]
    fn a_listener_of_this_process_is_found_by_its_port() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = listener.local_addr().unwrap().to_string().parse().unwrap();
        assert_eq!(
            ServerProcess::listening_on(endpoint),
            Some(ServerProcess::own())
        );
        assert!(ServerProcess::own().usage().unwrap().resident_bytes > 0);
    }
}
