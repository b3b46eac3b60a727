//! When to compact without being asked, and at which revision.
//!
//! Sans-IO: the caller brings the time and the current revision, and carries out what is due. The two
//! modes and their timing are etcd's (`--auto-compaction-mode`, `--auto-compaction-retention`).

use std::collections::VecDeque;
use std::time::Duration;

use cairn_index::Revision;

use crate::settings::AutoCompaction;

/// The state of automatic compaction.
#[derive(Debug)]
pub(super) struct Schedule {
    retention: AutoCompaction,
    /// Revisions seen, one a sampling interval, oldest first; at most `samples_max`.
    seen: VecDeque<Revision>,
    last_compacted: Option<Revision>,
    /// No compaction before this time, counted from the start.
    not_before: Duration,
}

/// A long period is served by compactions no further apart than this.
const PERIOD_STEP_MAX: Duration = Duration::from_secs(3600);
/// Samples taken between two compactions of the periodic mode.
const SAMPLES_PER_STEP: u32 = 10;
/// How often the revision mode looks.
const REVISION_STEP: Duration = Duration::from_secs(300);

impl Schedule {
    /// Begins at time zero.
    pub(super) fn new(retention: AutoCompaction) -> Self {
        let not_before = match retention {
            AutoCompaction::Periodic(period) => period,
            AutoCompaction::Revisions(_) => Duration::ZERO,
        };
        Self {
            retention,
            seen: VecDeque::new(),
            last_compacted: None,
            not_before,
        }
    }

    /// How long to wait between two calls of [`Self::sample`].
    pub(super) fn interval(&self) -> Duration {
        match self.retention {
            AutoCompaction::Periodic(period) => step(period) / SAMPLES_PER_STEP,
            AutoCompaction::Revisions(_) => REVISION_STEP,
        }
    }

    /// Notes that the store is at `current`, and says where to compact it, if that is due.
    pub(super) fn sample(&mut self, now: Duration, current: Revision) -> Option<Revision> {
        let target = match self.retention {
            AutoCompaction::Revisions(keep) => {
                Revision::new(current.number().checked_sub(keep.get())?)?
            }
            AutoCompaction::Periodic(period) => {
                let oldest = self.seen.front().copied();
                self.seen.push_back(current);
                while self.seen.len() > samples_max(period) {
                    self.seen.pop_front();
                }
                oldest?
            }
        };
        (now >= self.not_before && self.last_compacted != Some(target)).then_some(target)
    }

    /// Notes that the store has been compacted at `revision`, or had been before.
    pub(super) fn compacted(&mut self, now: Duration, revision: Revision) {
        self.last_compacted = Some(revision);
        if let AutoCompaction::Periodic(period) = self.retention {
            self.not_before = now + step(period);
        }
    }
}

fn step(period: Duration) -> Duration {
    period.min(PERIOD_STEP_MAX)
}

/// As many samples as cover the whole period, and one.
fn samples_max(period: Duration) -> usize {
    let interval = (step(period) / SAMPLES_PER_STEP).max(Duration::from_nanos(1));
    let samples = period.as_nanos() / interval.as_nanos();
    usize::try_from(samples).unwrap_or(usize::MAX - 1) + 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::num::NonZeroU64;

    const MINUTE: Duration = Duration::from_secs(60);

    fn revision(number: u64) -> Revision {
        Revision::new(number).unwrap()
    }

    /// Runs `auto` for `steps` intervals, with one write a second; returns (minute, revision) pairs.
    fn run(mut auto: Schedule, steps: u32) -> Vec<(u64, u64)> {
        let mut compactions = Vec::new();
        for number in 0..steps {
            let now = auto.interval() * number;
            let current = revision(1 + now.as_secs());
            if let Some(target) = auto.sample(now, current) {
                compactions.push((now.as_secs() / 60, target.number()));
                auto.compacted(now, target);
            }
        }
        compactions
    }

    #[test]
    fn a_short_period_compacts_once_a_period_at_the_revision_a_period_ago() {
        let compactions = run(Schedule::new(AutoCompaction::Periodic(10 * MINUTE)), 41);
        assert_eq!(compactions, [(10, 1), (20, 541), (30, 1141), (40, 1741)]);
    }

    #[test]
    fn a_long_period_compacts_every_hour_once_it_has_passed() {
        let compactions = run(Schedule::new(AutoCompaction::Periodic(3 * 60 * MINUTE)), 51);
        let minutes: Vec<_> = compactions.iter().map(|(minute, _)| *minute).collect();
        assert_eq!(minutes, [180, 240, 300]);
    }

    #[test]
    fn the_revision_mode_keeps_the_last_revisions() {
        let keep = NonZeroU64::new(100).unwrap();
        let mut auto = Schedule::new(AutoCompaction::Revisions(keep));
        assert_eq!(auto.sample(MINUTE, revision(100)), None);
        assert_eq!(auto.sample(MINUTE, revision(150)), Some(revision(50)));
        auto.compacted(MINUTE, revision(50));
        assert_eq!(auto.sample(MINUTE, revision(150)), None);
    }
}
