//! What the disk itself takes to make a small write durable: the floor under a put's latency.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::latencies::{Latencies, LatencySummary};

/// Bytes of each write.
const WRITE_LEN: usize = 4096;
/// Writes go round in a file of this many of them, zero-filled before: nothing grows.
const WRITES_IN_FILE: u64 = 1024;

/// Times a 4 KiB write and its fdatasync in `directory`, one after the other, for a while.
///
/// # Errors
///
/// The operating system's.
pub fn measure(directory: &Path, time: Duration) -> Result<LatencySummary> {
    let path = directory.join("disk-sync");
    let file = File::options()
        .create(true)
        .truncate(true)
        .write(true)
        .open(&path)?;
    let block = vec![0x5a; WRITE_LEN];
    for number in 0..WRITES_IN_FILE {
        file.write_all_at(&vec![0; WRITE_LEN], number * WRITE_LEN as u64)?;
    }
    file.sync_all()?;
    let mut latencies = Latencies::new();
    let start = Instant::now();
    for number in (0..WRITES_IN_FILE).cycle() {
        let written = Instant::now();
        if written.duration_since(start) >= time && latencies.count() > 0 {
            break;
        }
        file.write_all_at(&block, number * WRITE_LEN as u64)?;
        file.sync_data()?;
        latencies.record(written.elapsed());
    }
    std::fs::remove_file(&path)?;
    Ok(latencies.summary())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn at_least_one_write_is_timed_and_nothing_is_left() {
        let home = tempfile::tempdir().unwrap();
        let summary = measure(home.path(), Duration::ZERO).unwrap();
        assert_eq!(summary.count, 1);
        assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 0);
    }
}
