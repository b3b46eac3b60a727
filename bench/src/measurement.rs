//! The result of one scenario against one server.

use std::time::{Duration, Instant};

use anyhow::Result;
use serde::{Deserialize, Serialize};

use crate::latencies::LatencySummary;
use crate::machine;
use crate::server_process::{ServerProcess, Usage};

/// What one scenario measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measurement {
    /// The scenario's name.
    pub scenario: String,
    /// How long it was measured.
    pub seconds: f64,
    /// What was completed in that time: requests, or events, or keys.
    pub operations: u64,
    /// Operations per second.
    pub per_second: f64,
    /// Requests that failed.
    pub errors: u64,
    /// The text of the first of them.
    pub first_error: Option<String>,
    /// Bytes of answers received.
    pub received_bytes: u64,
    /// Latencies by kind of request.
    pub latencies: Vec<KindLatency>,
    /// What the server used, if its process is known.
    pub server: Option<ServerCost>,
    /// Processor time of the load generator: near one core a thread, it was the limit.
    pub generator_cpu_seconds: f64,
    /// Cores that neither server nor generator kept busy: above 0.1, mistrust rates and latencies.
    /// Without a known server, its own are among them.
    pub other_cores: f64,
}

impl Measurement {
    /// A measurement of `operations` over a span, without latencies.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "counts below 2^52")]
    pub fn of(scenario: &str, operations: u64, span: &Span) -> Self {
        let seconds = span.elapsed.as_secs_f64();
        Self {
            scenario: scenario.to_owned(),
            seconds,
            operations,
            per_second: if seconds > 0.0 {
                operations as f64 / seconds
            } else {
                0.0
            },
            errors: 0,
            first_error: None,
            received_bytes: 0,
            latencies: Vec::new(),
            server: span.server.map(|(before, after)| {
                let cpu_seconds = after.cpu.saturating_sub(before.cpu).as_secs_f64();
                ServerCost {
                    cpu_seconds,
                    cpu_us_per_operation: cpu_seconds * 1e6 / operations.max(1) as f64,
                    operations_per_cpu_second: operations as f64 / cpu_seconds.max(0.01),
                    usage: after,
                }
            }),
            generator_cpu_seconds: span.generator_cpu.as_secs_f64(),
            other_cores: span.other_cores(),
        }
    }

    /// The latencies of a kind, or of the only one.
    #[must_use]
    pub fn latency(&self, kind: &str) -> Option<&LatencySummary> {
        self.latencies
            .iter()
            .find(|latency| latency.kind == kind)
            .map(|found| &found.latency)
    }
}

/// Latencies of one kind of request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct KindLatency {
    /// The kind.
    pub kind: String,
    /// Its latencies.
    pub latency: LatencySummary,
}

/// What the server used for a measurement.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ServerCost {
    /// Processor seconds within the measured time.
    pub cpu_seconds: f64,
    /// Processor time per operation.
    pub cpu_us_per_operation: f64,
    /// Operations per processor second (0.01 s at least, the resolution).
    pub operations_per_cpu_second: f64,
    /// Its totals and memory at the end.
    pub usage: Usage,
}

/// A measured stretch of time, with the costs at both ends.
#[derive(Clone, Copy, Debug)]
pub struct Span {
    elapsed: Duration,
    server: Option<(Usage, Usage)>,
    generator_cpu: Duration,
    machine_cpu: Duration,
}

impl Span {
    /// Starts the stretch, in which what these processes use together is the server's cost.
    ///
    /// # Errors
    ///
    /// If a process cannot be read.
    pub fn begin(processes: &[ServerProcess]) -> Result<OpenSpan> {
        Ok(OpenSpan {
            before: Usage::of_all(processes)?,
            processes: processes.to_vec(),
            own: ServerProcess::own().usage()?,
            machine: machine::busy()?,
            start: Instant::now(),
        })
    }
}

impl Span {
    fn other_cores(&self) -> f64 {
        let server = self.server.map_or(Duration::ZERO, |(before, after)| {
            after.cpu.saturating_sub(before.cpu)
        });
        let others = self.machine_cpu.saturating_sub(server + self.generator_cpu);
        others.as_secs_f64() / self.elapsed.as_secs_f64().max(0.001)
    }
}

/// A stretch of time that has not ended.
#[derive(Clone, Debug)]
pub struct OpenSpan {
    start: Instant,
    processes: Vec<ServerProcess>,
    before: Option<Usage>,
    own: Usage,
    machine: Duration,
}

impl OpenSpan {
    /// Ends the stretch.
    ///
    /// # Errors
    ///
    /// If a process cannot be read: it may have died.
    pub fn end(self) -> Result<Span> {
        let elapsed = self.start.elapsed();
        let server = self.before.zip(Usage::of_all(&self.processes)?);
        let generator_cpu = ServerProcess::own()
            .usage()?
            .cpu
            .saturating_sub(self.own.cpu);
        let machine_cpu = machine::busy()?.saturating_sub(self.machine);
        Ok(Span {
            elapsed,
            server,
            generator_cpu,
            machine_cpu,
        })
    }
}

#[cfg(test)]
impl Span {
    /// A span with made-up ends.
    pub(crate) fn made_up(elapsed: Duration, server_cpu: Duration) -> Self {
        let after = Usage {
            cpu: server_cpu,
            resident_bytes: 64 << 20,
            ..Usage::default()
        };
        Self {
            elapsed,
            server: Some((Usage::default(), after)),
            generator_cpu: Duration::ZERO,
            machine_cpu: server_cpu,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_and_costs_follow_from_the_span() {
        let span = Span::made_up(Duration::from_secs(2), Duration::from_secs(1));
        let measured = Measurement::of("put", 50_000, &span);
        assert_eq!((measured.per_second, measured.other_cores), (25_000.0, 0.0));
        let server = measured.server.unwrap();
        assert_eq!(server.cpu_us_per_operation, 20.0);
        assert_eq!(server.operations_per_cpu_second, 50_000.0);
    }

    #[test]
    fn a_span_of_this_process_ends_with_its_usage() {
        let span = Span::begin(&[ServerProcess::own()]).unwrap().end().unwrap();
        assert!(
            Measurement::of("none", 0, &span)
                .server
                .unwrap()
                .usage
                .resident_bytes
                > 0
        );
    }
}
