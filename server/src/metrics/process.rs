//! What the operating system knows of this process, read from /proc when asked.
//!
//! Where there is no /proc the numbers stay 0.

use std::fs;

use prometheus::{Counter, Gauge, Opts, Registry};

/// Clock ticks a second in /proc/self/stat: part of Linux' interface, the same everywhere.
const TICKS_PER_SEC: f64 = 100.0;

/// The process's metrics.
pub(super) struct ProcessMetrics {
    cpu_seconds: Counter,
    start_time_seconds: Gauge,
    resident_bytes: Gauge,
    virtual_bytes: Gauge,
    open_fds: Gauge,
    max_fds: Gauge,
    virtual_max_bytes: Gauge,
    network_received: Counter,
    network_sent: Counter,
}

/// What other gauges show too.
pub(super) struct Shared {
    pub(super) open_fds: i64,
    pub(super) max_fds: i64,
    pub(super) threads: i64,
}

/// Numbers of /proc/self/stat.
#[derive(Debug, PartialEq)]
struct Stat {
    cpu_seconds: f64,
    /// Since the machine started.
    start_seconds: f64,
}

impl ProcessMetrics {
    pub(super) fn register(registry: &Registry) -> prometheus::Result<Self> {
        let gauge = |name, help| -> prometheus::Result<Gauge> {
            let gauge = Gauge::with_opts(Opts::new(name, help))?;
            registry.register(Box::new(gauge.clone()))?;
            Ok(gauge)
        };
        let counter = |name, help| -> prometheus::Result<Counter> {
            let counter = Counter::with_opts(Opts::new(name, help))?;
            registry.register(Box::new(counter.clone()))?;
            Ok(counter)
        };
        Ok(Self {
            cpu_seconds: counter(
                "process_cpu_seconds_total",
                "Processor time spent, in seconds.",
            )?,
            virtual_max_bytes: gauge(
                "process_virtual_memory_max_bytes",
                "Address space that there may be, in bytes; -1 is any.",
            )?,
            network_received: counter(
                "process_network_receive_bytes_total",
                "Bytes that came over the network, for all processes that share it.",
            )?,
            network_sent: counter(
                "process_network_transmit_bytes_total",
                "Bytes that went over the network, for all processes that share it.",
            )?,
            start_time_seconds: gauge("process_start_time_seconds", "Unix time of the start.")?,
            resident_bytes: gauge("process_resident_memory_bytes", "Memory in use, in bytes.")?,
            virtual_bytes: gauge("process_virtual_memory_bytes", "Address space, in bytes.")?,
            open_fds: gauge("process_open_fds", "File descriptors in use.")?,
            max_fds: gauge("process_max_fds", "File descriptors that may be in use.")?,
        })
    }

    /// Brings all of them up to date.
    pub(super) fn read(&self) -> Shared {
        let file = |path: &str| fs::read_to_string(path).unwrap_or_default();
        if let Some(stat) = parse_stat(&file("/proc/self/stat")) {
            // Two readers at once may count a moment twice or not at all; the next call mends it.
            self.cpu_seconds
                .inc_by((stat.cpu_seconds - self.cpu_seconds.get()).max(0.0));
            let boot = number_after(&file("/proc/stat"), "btime");
            self.start_time_seconds.set(boot + stat.start_seconds);
        }
        let status = file("/proc/self/status");
        self.resident_bytes
            .set(number_after(&status, "VmRSS:") * 1024.0);
        self.virtual_bytes
            .set(number_after(&status, "VmSize:") * 1024.0);
        let netstat = file("/proc/self/net/netstat");
        for (counter, column) in [
            (&self.network_received, "InOctets"),
            (&self.network_sent, "OutOctets"),
        ] {
            let bytes = column_of(&netstat, "IpExt:", column);
            counter.inc_by((bytes - counter.get()).max(0.0));
        }
        let open = fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
        let limits = file("/proc/self/limits");
        let max = number_after(&limits, "Max open files");
        self.virtual_max_bytes
            .set(match number_after(&limits, "Max address space") {
                unlimited if unlimited < 1.0 => -1.0,
                bytes => bytes,
            });
        let shared = Shared {
            open_fds: i64::try_from(open).unwrap_or(i64::MAX),
            #[expect(clippy::cast_possible_truncation, reason = "limits are far below 2^53")]
            max_fds: max as i64,
            #[expect(
                clippy::cast_possible_truncation,
                reason = "threads are far below 2^53"
            )]
            threads: number_after(&status, "Threads:") as i64,
        };
        self.open_fds.set(shared.open_fds as f64);
        self.max_fds.set(max);
        shared
    }
}

/// The fields after the command's name, which stands in parentheses and may hold anything.
fn parse_stat(text: &str) -> Option<Stat> {
    let (_, fields) = text.rsplit_once(')')?;
    let field = |number: usize| -> Option<f64> {
        // Fields are numbered from 1, and the first two are cut off.
        fields.split_whitespace().nth(number - 3)?.parse().ok()
    };
    Some(Stat {
        cpu_seconds: (field(14)? + field(15)?) / TICKS_PER_SEC,
        start_seconds: field(22)? / TICKS_PER_SEC,
    })
}

/// The number that follows `label` at the start of a line, or 0.
fn number_after(text: &str, label: &str) -> f64 {
    text.lines()
        .find_map(|line| line.strip_prefix(label))
        .and_then(|rest| rest.split_whitespace().next())
        .and_then(|number| number.parse().ok())
        .unwrap_or(0.0)
}

/// The number under `column` of the table whose two lines begin with `label`, or 0.
fn column_of(text: &str, label: &str, column: &str) -> f64 {
    let mut lines = text.lines().filter_map(|line| line.strip_prefix(label));
    let (Some(names), Some(numbers)) = (lines.next(), lines.next()) else {
        return 0.0;
    };
    let mut columns = names.split_whitespace().zip(numbers.split_whitespace());
    let found = columns.find(|(name, _)| *name == column);
    found
        .and_then(|(_, number)| number.parse().ok())
        .unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_found_by_their_name() {
        let text = "TcpExt: A B\nTcpExt: 1 2\nIpExt: InNoRoutes InOctets\nIpExt: 3 4\n";
        assert_eq!(
            column_of(text, "IpExt:", "InOctets").to_bits(),
            4_f64.to_bits()
        );
        assert_eq!(
            column_of(text, "IpExt:", "OutOctets").to_bits(),
            0_f64.to_bits()
        );
    }

    #[test]
    fn stat_is_read_past_an_odd_command_name() {
        let text = "7 (a) b (c) S 1 2 3 4 5 6 7 8 9 10 150 50 13 14 15 16 17 18 4200 20";
        assert_eq!(
            parse_stat(text),
            Some(Stat {
                cpu_seconds: 2.0,
                start_seconds: 42.0
            })
        );
        assert_eq!(parse_stat("7 (a) S 1"), None);
        assert_eq!(parse_stat(""), None);
    }

    #[test]
    fn numbers_are_found_by_their_label() {
        let text =
            "VmPeak:\t 9 kB\nVmRSS:\t  4096 kB\nMax open files            1024   4096 files\n";
        assert_eq!(number_after(text, "VmRSS:").to_bits(), 4096_f64.to_bits());
        assert_eq!(
            number_after(text, "Max open files").to_bits(),
            1024_f64.to_bits()
        );
        assert_eq!(number_after(text, "VmSwap:").to_bits(), 0_f64.to_bits());
    }
}
