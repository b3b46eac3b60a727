//! How busy the whole machine is: other work beside a measurement makes its rates worthless.

use std::time::Duration;

use anyhow::{Context, Result};

/// Processor time that all processes together have used since the machine was started.
///
/// # Errors
///
/// If `/proc` is not Linux's.
pub fn busy() -> Result<Duration> {
    let text = std::fs::read_to_string("/proc/stat").context("reading /proc/stat")?;
    let ticks = busy_ticks(&text).context("unexpected form of /proc/stat")?;
    Ok(Duration::from_millis(
        ticks * 1000 / rustix::param::clock_ticks_per_second(),
    ))
}

/// user, nice, system, then idle and iowait, which are left out, then irq and softirq.
fn busy_ticks(stat: &str) -> Option<u64> {
    let line = stat.lines().find_map(|line| line.strip_prefix("cpu "))?;
    let ticks: Vec<u64> = line
        .split_whitespace()
        .map_while(|text| text.parse().ok())
        .collect();
    let [user, nice, system, _idle, _iowait, irq, softirq, ..] = ticks[..] else {
        return None;
    };
    Some(user + nice + system + irq + softirq)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idle_time_and_waiting_for_the_disk_are_not_busy() {
        let stat = "cpu  1 2 4 100 200 8 16 32 64 128\ncpu0 1 1 1 1 1 1 1\n";
        assert_eq!(busy_ticks(stat), Some(31));
        assert_eq!(busy_ticks("cpu0 1 2 3"), None);
    }

    #[test]
    fn this_machine_has_been_busy() {
        assert!(busy().unwrap() > Duration::ZERO);
    }
}
