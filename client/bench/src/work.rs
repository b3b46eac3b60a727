//! What one client process does, and what that cost.

use std::io::Write as _;
use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use rustix::time::{ClockId, clock_gettime};

/// Calls that are under way at once.
pub const TASKS: usize = 32;
/// Keys that are written and read.
pub const KEYS: usize = 1000;
/// Bytes of a value.
pub const VALUE: [u8; 256] = [b'v'; 256];

/// Of what there is so much to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Put,
    Get,
    Watch,
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Work {
    pub kind: Kind,
    pub endpoint: String,
    pub count: usize,
}

impl Work {
    pub fn parse(arguments: &[&str]) -> Result<Self> {
        let [kind, endpoint, count] = arguments else {
            bail!("put|get|watch URL COUNT");
        };
        Ok(Self {
            kind: match *kind {
                "put" => Kind::Put,
                "get" => Kind::Get,
                "watch" => Kind::Watch,
                other => bail!("{other:?} is no work"),
            },
            endpoint: (*endpoint).to_owned(),
            count: count.parse().context("the count")?,
        })
    }
}

pub fn key(at: usize) -> String {
    format!("bench/{:04}", at % KEYS)
}

/// Tells the parent that writes may begin.
pub fn ready() {
    println!("ready");
    let _ = std::io::stdout().flush();
}

/// Processor and other time since it was begun.
pub struct Meter {
    begun: Instant,
    cpu: f64,
}

impl Meter {
    pub fn begin() -> Self {
        Self {
            begun: Instant::now(),
            cpu: cpu_seconds(),
        }
    }

    /// Prints what so many operations cost: processor time of one in microseconds, and the rate.
    pub fn end(self, count: usize) {
        let wall = self.begun.elapsed().as_secs_f64();
        let cpu = cpu_seconds() - self.cpu;
        let count = count as f64;
        println!("{:.3} {:.0}", cpu * 1e6 / count, count / wall);
    }
}

/// Processor time of this process.
pub fn cpu_seconds() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}
