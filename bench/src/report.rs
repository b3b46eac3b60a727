//! Measurements as tables for people.

use comfy_table::{Cell, CellAlignment, Table, presets};

use crate::measurement::Measurement;
use crate::scenario::RestartTimes;

/// A table of measurements: one line each, and more where there are several kinds of requests.
#[must_use]
pub fn table(measurements: &[Measurement]) -> String {
    let mut table = plain_table(&[
        "scenario",
        "ops",
        "ops/s",
        "p50",
        "p90",
        "p99",
        "p99.9",
        "max",
        "errors",
        "server CPU",
        "CPU/op",
        "RSS",
        "peak",
        "client CPU",
        "other cores",
    ]);
    for measured in measurements {
        let server = measured.server;
        let of_server = |show: &dyn Fn(crate::measurement::ServerCost) -> String| {
            server.map_or_else(|| "-".to_owned(), show)
        };
        // A single kind shares the line of its measurement.
        let (single, several) = match &measured.latencies[..] {
            [single] => (Some(single), &[][..]),
            several => (None, several),
        };
        let mut row = vec![
            measured.scenario.clone(),
            measured.operations.to_string(),
            rate(measured.per_second),
        ];
        row.extend(latency_cells(single));
        row.extend([
            measured.errors.to_string(),
            of_server(&|cost| format!("{:.2} s", cost.cpu_seconds)),
            of_server(&|cost| micros(cost.cpu_us_per_operation)),
            of_server(&|cost| mebibytes(cost.usage.resident_bytes)),
            of_server(&|cost| mebibytes(cost.usage.peak_bytes)),
            format!("{:.2} s", measured.generator_cpu_seconds),
            format!("{:.2}", measured.other_cores),
        ]);
        add_row(&mut table, row);
        for latency in several {
            let mut row = vec![
                format!("  {}", latency.kind),
                latency.latency.count.to_string(),
                String::new(),
            ];
            row.extend(latency_cells(Some(latency)));
            add_row(&mut table, row);
        }
        if let Some(error) = &measured.first_error {
            add_row(&mut table, vec![format!("  first error: {error}")]);
        }
    }
    table.to_string()
}

/// Restart times as a table.
#[must_use]
pub fn restart_table(times: &RestartTimes) -> String {
    let mut table = plain_table(&[
        "keys",
        "median",
        "each",
        "RSS loaded",
        "RSS restarted",
        "peak",
    ]);
    let each: Vec<String> = times
        .ready_seconds
        .iter()
        .map(|seconds| format!("{seconds:.3} s"))
        .collect();
    add_row(
        &mut table,
        vec![
            times.keys.to_string(),
            format!("{:.3} s", times.median_seconds()),
            each.join(" "),
            mebibytes(times.loaded.resident_bytes),
            mebibytes(times.restarted.resident_bytes),
            mebibytes(times.loaded.peak_bytes.max(times.restarted.peak_bytes)),
        ],
    );
    table.to_string()
}

/// A table in plain text with this head.
pub(crate) fn plain_table(head: &[&str]) -> Table {
    let mut table = Table::new();
    table
        .load_style(presets::UTF8_BORDERS_ONLY)
        .set_header(head);
    table
}

/// Adds a row: text to the left, everything else to the right.
pub(crate) fn add_row(table: &mut Table, cells: Vec<String>) {
    table.add_row(cells.into_iter().enumerate().map(|(column, text)| {
        let alignment = if column == 0 {
            CellAlignment::Left
        } else {
            CellAlignment::Right
        };
        Cell::new(text).set_alignment(alignment)
    }));
}

/// Microseconds, or milliseconds where that is more legible.
#[must_use]
pub fn micros(micros: f64) -> String {
    if micros >= 10_000.0 {
        format!("{:.1} ms", micros / 1000.0)
    } else if micros >= 100.0 {
        format!("{micros:.0} µs")
    } else {
        format!("{micros:.1} µs")
    }
}

/// A rate, with digits enough.
#[must_use]
pub fn rate(per_second: f64) -> String {
    if per_second >= 100.0 {
        format!("{per_second:.0}")
    } else {
        format!("{per_second:.1}")
    }
}

/// Bytes as mebibytes.
#[must_use]
pub fn mebibytes(bytes: u64) -> String {
    format!("{} MiB", bytes >> 20)
}

fn latency_cells(latency: Option<&crate::measurement::KindLatency>) -> Vec<String> {
    let Some(latency) = latency.map(|kind| &kind.latency) else {
        return vec![String::new(); 5];
    };
    [
        latency.p50_us,
        latency.p90_us,
        latency.p99_us,
        latency.p999_us,
        latency.max_us,
    ]
    .map(micros)
    .to_vec()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::latencies::Latencies;
    use crate::measurement::{KindLatency, Span};

    #[test]
    fn a_measurement_is_a_line_and_each_of_several_kinds_another() {
        let mut latencies = Latencies::new();
        latencies.record(Duration::from_micros(1500));
        let span = Span::made_up(Duration::from_secs(1), Duration::from_secs(1));
        let kinds = ["range", "put"].map(|kind| KindLatency {
            kind: kind.to_owned(),
            latency: latencies.summary(),
        });
        let measured = Measurement {
            latencies: kinds.to_vec(),
            errors: 3,
            first_error: Some("gRPC status 8: full".to_owned()),
            ..Measurement::of("mixed", 20_000, &span)
        };
        let text = table(&[measured]);
        for expected in [
            "mixed",
            "20000",
            "  put",
            "50.0 µs",
            "64 MiB",
            "gRPC status 8: full",
        ] {
            assert!(text.contains(expected), "{expected} is not in\n{text}");
        }
    }

    #[test]
    fn units_follow_the_size() {
        assert_eq!(micros(12.34), "12.3 µs");
        assert_eq!(micros(1234.0), "1234 µs");
        assert_eq!(micros(123_456.0), "123.5 ms");
        assert_eq!(
            (rate(12.34), rate(1234.5)),
            ("12.3".to_owned(), "1234".to_owned())
        );
    }
}
