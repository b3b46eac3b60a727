//! The result of a comparison: medians, ratios and verdicts, as table, Markdown, JSON and picture.

use std::path::Path;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::compare::benchmark::Benchmark;
use crate::compare::quantity::{Aim, Better, Quantity, Verdict};
use crate::compare::side::Samples;
use crate::conditions::Conditions;
use crate::median::median;
use crate::plot::{self, Bar};
use crate::report::{add_row, plain_table};

/// Cores that others may keep busy without a warning.
const OTHER_CORES_MAX: f64 = 0.1;

/// All benchmarks, with the conditions that they were run under.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// What A and B are called.
    pub names: [String; 2],
    /// Their command lines, without the flags for data, addresses and logs.
    pub commands: [String; 2],
    /// What they say of their version.
    pub versions: [String; 2],
    /// The machine.
    pub conditions: Conditions,
    /// Rounds, times and sizes.
    pub scale: String,
    /// The benchmarks.
    pub benchmarks: Vec<BenchmarkResult>,
}

/// One benchmark's results, or why there are none.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BenchmarkResult {
    /// Which benchmark.
    pub benchmark: Benchmark,
    /// What was measured.
    pub metrics: Vec<Metric>,
    /// Why it ended early.
    pub error: Option<String>,
}

/// One quantity on both servers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Metric {
    /// Which quantity.
    pub quantity: Quantity,
    /// A's rounds.
    pub a_rounds: Vec<f64>,
    /// B's rounds.
    pub b_rounds: Vec<f64>,
    /// A's median.
    pub a: f64,
    /// B's median.
    pub b: f64,
    /// A divided by B; `None` where B is zero.
    pub ratio: Option<f64>,
    /// What A wants to reach.
    pub aim: Option<Aim>,
    /// Whether it did.
    pub verdict: Option<Verdict>,
}

/// Sums up the samples of both servers.
pub(super) fn metrics(samples: &[Samples; 2]) -> Vec<Metric> {
    let rounds = |samples: &Samples, quantity| -> Vec<f64> {
        samples
            .iter()
            .filter(|sample| sample.0 == quantity)
            .map(|sample| sample.1)
            .collect()
    };
    let disk: Vec<f64> = samples
        .iter()
        .flat_map(|samples| rounds(samples, Quantity::DiskP50))
        .collect();
    let disk = median(&disk);
    let [a_samples, b_samples] = samples;
    Quantity::ALL
        .iter()
        .filter_map(|&quantity| {
            let a_rounds = rounds(a_samples, quantity);
            let b_rounds = rounds(b_samples, quantity);
            let (a, b) = (median(&a_rounds)?, median(&b_rounds)?);
            let aim = quantity.aim();
            let verdict = aim.and_then(|aim| aim.verdict(a, b, disk));
            let ratio = (b != 0.0).then(|| a / b);
            Some(Metric {
                quantity,
                a_rounds,
                b_rounds,
                a,
                b,
                ratio,
                aim,
                verdict,
            })
        })
        .collect()
}

impl Comparison {
    /// A table for people.
    #[must_use]
    pub fn table(&self) -> String {
        let [a, b] = &self.names;
        let mut table = plain_table(&["", a, b, "ratio", "aim", "verdict"]);
        for result in &self.benchmarks {
            for metric in result.results() {
                add_row(&mut table, metric.cells());
            }
            if let Some(error) = &result.error {
                add_row(
                    &mut table,
                    vec![format!("{}: {error}", result.benchmark.name())],
                );
            }
        }
        format!("{}\n{}", table, self.condition_lines().join("\n"))
    }

    /// The same as a piece of a Markdown document.
    #[must_use]
    pub fn markdown(&self) -> String {
        let [a, b] = &self.names;
        let mut lines: Vec<String> = self
            .condition_lines()
            .into_iter()
            .map(|line| format!("- {line}"))
            .collect();
        lines.push(String::new());
        lines.push(format!("| | {a} | {b} | ratio | aim | |"));
        lines.push("|---|--:|--:|--:|---|---|".to_owned());
        for result in &self.benchmarks {
            for metric in result.results() {
                lines.push(format!("| {} |", metric.cells().join(" | ")));
            }
            if let Some(error) = &result.error {
                let error = error.replace('|', "\\|");
                lines.push(format!("| {} | {error} | | | | |", result.benchmark.name()));
            }
        }
        lines.push(String::new());
        lines.join("\n")
    }

    /// How many times better A is, as bars.
    ///
    /// # Errors
    ///
    /// If it cannot be drawn.
    pub fn svg(&self) -> Result<String> {
        let bars: Vec<Bar> = self
            .benchmarks
            .iter()
            .flat_map(|result| &result.metrics)
            .filter(|metric| metric.aim.is_some())
            .filter_map(|metric| {
                let ratio = metric.ratio.filter(|ratio| *ratio > 0.0)?;
                Some(Bar {
                    name: metric.quantity.label().to_owned(),
                    times: match metric.quantity.better() {
                        Better::Higher => ratio,
                        Better::Lower => 1.0 / ratio,
                    },
                })
            })
            .collect();
        let [a, b] = &self.names;
        plot::bars_svg(&format!("{a}: how many times better than {b}"), &bars)
    }

    /// Writes comparison.json, comparison.md and comparison.svg.
    ///
    /// # Errors
    ///
    /// The operating system's.
    pub fn write(&self, directory: &Path) -> Result<()> {
        std::fs::create_dir_all(directory)
            .with_context(|| format!("making {}", directory.display()))?;
        let files = [
            ("comparison.json", serde_json::to_string_pretty(self)?),
            ("comparison.md", self.markdown()),
            ("comparison.svg", self.svg()?),
        ];
        for (name, content) in files {
            let path = directory.join(name);
            std::fs::write(&path, content)
                .with_context(|| format!("writing {}", path.display()))?;
        }
        Ok(())
    }

    /// The most cores that others kept busy in any round.
    fn other_cores(&self) -> f64 {
        let metrics = self.benchmarks.iter().flat_map(|result| &result.metrics);
        metrics
            .filter(|metric| metric.quantity == Quantity::OtherCores)
            .flat_map(|metric| metric.a_rounds.iter().chain(&metric.b_rounds))
            .copied()
            .fold(0.0, f64::max)
    }

    fn condition_lines(&self) -> Vec<String> {
        let mut lines = self.conditions.lines();
        lines.push(format!("{}; medians of the rounds", self.scale));
        let others = self.other_cores();
        if others > OTHER_CORES_MAX {
            lines.push(format!(
                "**other processes kept up to {others:.1} cores busy: mistrust rates and latencies**"
            ));
        }
        lines.push("keys of 32 bytes, values of 256, load from the same machine".to_owned());
        for ((name, version), command) in self.names.iter().zip(&self.versions).zip(&self.commands)
        {
            lines.push(format!("{name}: {version} (`{command}`)"));
        }
        lines
    }
}

impl BenchmarkResult {
    /// What is a result, and no warning.
    fn results(&self) -> impl Iterator<Item = &Metric> {
        self.metrics
            .iter()
            .filter(|metric| metric.quantity != Quantity::OtherCores)
    }
}

impl Metric {
    fn cells(&self) -> Vec<String> {
        let or_empty = |text: Option<String>| text.unwrap_or_default();
        vec![
            self.quantity.label().to_owned(),
            self.quantity.show(self.a),
            self.quantity.show(self.b),
            or_empty(self.ratio.map(|ratio| format!("{ratio:.2}"))),
            or_empty(self.aim.map(|aim| aim.to_string())),
            or_empty(self.verdict.map(|verdict| verdict.to_string())),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn comparison() -> Comparison {
        let a = vec![
            (Quantity::PutRate, 30_000.0),
            (Quantity::PutRate, 10_000.0),
            (Quantity::PutRate, 31_000.0),
            (Quantity::PutP50, 330.0),
            (Quantity::DiskP50, 200.0),
        ];
        let b = vec![
            (Quantity::PutRate, 10_000.0),
            (Quantity::PutP50, 600.0),
            (Quantity::DiskP50, 200.0),
        ];
        let failed = Some("no answer | at all".to_owned());
        Comparison {
            names: ["cairn".to_owned(), "etcd".to_owned()],
            commands: ["cairn".to_owned(), "etcd".to_owned()],
            versions: ["0.1".to_owned(), "3.4".to_owned()],
            conditions: Conditions::here(Path::new("/")),
            scale: "quick".to_owned(),
            benchmarks: vec![
                BenchmarkResult {
                    benchmark: Benchmark::Puts,
                    metrics: metrics(&[a, b]),
                    error: None,
                },
                BenchmarkResult {
                    benchmark: Benchmark::Scan,
                    metrics: Vec::new(),
                    error: failed,
                },
            ],
        }
    }

    #[test]
    fn the_median_round_counts_and_decides_the_aim() {
        let comparison = comparison();
        let metric = &comparison.benchmarks[0].metrics[0];
        assert_eq!(
            (metric.a, metric.b, metric.ratio),
            (30_000.0, 10_000.0, Some(3.0))
        );
        assert_eq!(metric.verdict, Some(Verdict::Met));
        assert_eq!(
            comparison.benchmarks[0].metrics[1].verdict,
            Some(Verdict::Met)
        );
    }

    #[test]
    fn table_and_markdown_show_results_aims_and_errors() {
        let comparison = comparison();
        for text in [comparison.table(), comparison.markdown()] {
            for expected in [
                "puts, 1,000 clients",
                "30000/s",
                "3.00",
                "≥ 2.50 ×",
                "met",
                "scan",
            ] {
                assert!(text.contains(expected), "{expected} is not in\n{text}");
            }
        }
        assert!(comparison.markdown().contains("no answer \\| at all"));
    }

    #[test]
    fn what_is_written_can_be_read_again() {
        let directory = tempfile::tempdir().unwrap();
        let comparison = comparison();
        comparison.write(directory.path()).unwrap();
        let json = std::fs::read_to_string(directory.path().join("comparison.json")).unwrap();
        assert_eq!(
            serde_json::from_str::<Comparison>(&json).unwrap(),
            comparison
        );
        let svg = std::fs::read_to_string(directory.path().join("comparison.svg")).unwrap();
        assert!(svg.contains("put latency p50, 1 client"));
    }
}
