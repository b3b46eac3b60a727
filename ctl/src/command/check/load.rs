//! Puts under way, and what they took.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use cairn_proto::etcdserverpb::PutRequest;
use indicatif::ProgressBar;
use tokio::task::JoinSet;

use crate::failure::Failure;
use crate::session::{Context, Session};

/// What is to be put.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) prefix: String,
    /// Bytes of a key behind the prefix, and of a value.
    pub(super) key_bytes: usize,
    pub(super) value_bytes: usize,
    /// How many are put in all.
    pub(super) puts: u64,
    /// Puts in a second, and when to stop in any case.
    pub(super) pace: Option<(u64, Duration)>,
}

/// What puts took.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    pub(super) took: Vec<Duration>,
    pub(super) errors: BTreeMap<String, u64>,
    pub(super) elapsed: Duration,
}

impl Outcome {
    fn merge(&mut self, other: Self) {
        self.took.extend(other.took);
        for (error, count) in other.errors {
            *self.errors.entry(error).or_default() += count;
        }
    }

    /// Puts in a second.
    pub(super) fn rate(&self) -> f64 {
        let secs = self.elapsed.as_secs_f64();
        if secs > 0.0 {
            self.took.len() as f64 / secs
        } else {
            0.0
        }
    }

    pub(super) fn slowest_secs(&self) -> f64 {
        self.took.iter().max().map_or(0.0, Duration::as_secs_f64)
    }

    /// The standard deviation, in seconds.
    pub(super) fn deviation_secs(&self) -> f64 {
        let count = self.took.len().max(1) as f64;
        let mean = self.took.iter().map(Duration::as_secs_f64).sum::<f64>() / count;
        let square = |took: &Duration| (took.as_secs_f64() - mean).powi(2);
        (self.took.iter().map(square).sum::<f64>() / count).sqrt()
    }
}

/// As many connections as the plan has clients.
pub(super) async fn sessions(context: &Context, count: usize) -> Result<Vec<Session>, Failure> {
    let mut sessions = Vec::with_capacity(count);
    for _ in 0..count {
        sessions.push(context.session().await?);
    }
    Ok(sessions)
}

/// Puts all that is planned.
pub(super) async fn run(plan: Plan, sessions: Vec<Session>, bar: &ProgressBar) -> Outcome {
    let start = Instant::now();
    let plan = Arc::new(plan);
    let next = Arc::new(AtomicU64::new(0));
    let mut clients = JoinSet::new();
    for session in sessions {
        let worker = worker(
            Arc::clone(&plan),
            session,
            Arc::clone(&next),
            start,
            bar.clone(),
        );
        clients.spawn(worker);
    }
    let mut outcome = Outcome::default();
    while let Some(ended) = clients.join_next().await {
        if let Ok(ended) = ended {
            outcome.merge(ended);
        }
    }
    outcome.elapsed = start.elapsed();
    outcome
}

async fn worker(
    plan: Arc<Plan>,
    session: Session,
    next: Arc<AtomicU64>,
    start: Instant,
    bar: ProgressBar,
) -> Outcome {
    let value = Bytes::from(vec![0; plan.value_bytes]);
    let mut outcome = Outcome::default();
    loop {
        let number = next.fetch_add(1, Ordering::Relaxed);
        if number >= plan.puts {
            return outcome;
        }
        if let Some((per_second, time)) = plan.pace {
            let due = Duration::from_secs_f64(number as f64 / per_second as f64);
            tokio::time::sleep_until((start + due).into()).await;
            if start.elapsed() >= time {
                return outcome;
            }
        }
        let begun = Instant::now();
        let request = PutRequest {
            key: key(&plan, number),
            value: value.clone(),
            ..PutRequest::default()
        };
        if let Err(failure) = session.call(request).await {
            *outcome.errors.entry(failure.message).or_default() += 1;
        }
        outcome.took.push(begun.elapsed());
        if plan.pace.is_none() {
            bar.inc(1);
        }
    }
}

/// A key for each number, scattered over the prefix.
fn key(plan: &Plan, number: u64) -> Bytes {
    // Odd, so that no two numbers meet.
    const SCATTER: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut key = plan.prefix.clone().into_bytes();
    key.extend_from_slice(&number.wrapping_mul(SCATTER).to_be_bytes());
    key.resize(plan.prefix.len() + plan.key_bytes, 0);
    key.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statistics_are_those_of_all_puts() {
        let outcome = Outcome {
            took: [2, 4, 4, 4, 5, 5, 7, 9].map(Duration::from_secs).to_vec(),
            elapsed: Duration::from_secs(4),
            ..Outcome::default()
        };
        let close = |value: f64, expected: f64| (value - expected).abs() < 1e-9;
        assert!(close(outcome.deviation_secs(), 2.0));
        assert!(close(outcome.slowest_secs(), 9.0));
        assert!(close(outcome.rate(), 2.0));
        assert!(close(Outcome::default().rate(), 0.0));
    }
}
