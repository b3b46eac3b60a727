//! What the generator threads and the thread that watches the clock share.

use std::sync::Barrier;
use std::sync::atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::load::Limit;

/// How often the watching thread looks up.
pub(super) const TICK: Duration = Duration::from_millis(5);

/// Where a run is. Phases only move forward.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    /// Connecting.
    Idle,
    /// Requests are sent and not counted.
    WarmUp,
    /// Requests are sent and counted.
    Measure,
    /// Nothing new is sent.
    Stop,
}

/// The shared state of a run. All orderings are relaxed: the values are looked at anew for each
/// request, and results travel through joined threads.
#[derive(Debug)]
pub(super) struct Gate {
    phase: AtomicU8,
    tickets: AtomicU64,
    tickets_max: u64,
    generators_running: AtomicUsize,
    barrier: Barrier,
}

impl Gate {
    pub(super) fn new(limit: Limit, generators: usize) -> Self {
        Self {
            phase: AtomicU8::new(Phase::Idle as u8),
            tickets: AtomicU64::new(0),
            tickets_max: match limit {
                Limit::Duration { .. } => u64::MAX,
                Limit::Count { requests, .. } => requests,
            },
            generators_running: AtomicUsize::new(generators),
            barrier: Barrier::new(generators + 1),
        }
    }

    /// Waits until all generators, and the watcher, have come here.
    pub(super) fn wait_for_generators(&self) {
        self.barrier.wait();
    }

    pub(super) fn enter(&self, phase: Phase) {
        self.phase.fetch_max(phase as u8, Ordering::Relaxed);
    }

    pub(super) fn phase(&self) -> Phase {
        let phase = self.phase.load(Ordering::Relaxed);
        [Phase::Idle, Phase::WarmUp, Phase::Measure]
            .into_iter()
            .find(|known| *known as u8 == phase)
            .unwrap_or(Phase::Stop)
    }

    /// The number of the next request, or `None` when all have been given out.
    pub(super) fn ticket(&self) -> Option<u64> {
        let ticket = self.tickets.fetch_add(1, Ordering::Relaxed);
        (ticket < self.tickets_max).then_some(ticket)
    }

    /// The part of `requests` that has been given out.
    #[expect(clippy::cast_precision_loss, reason = "a share for a progress bar")]
    pub(super) fn share_taken(&self, requests: u64) -> f64 {
        self.tickets.load(Ordering::Relaxed) as f64 / requests.max(1) as f64
    }

    /// Waits until `end`, or until all generators have ended.
    pub(super) fn wait_until(&self, end: Instant, mut each_tick: impl FnMut()) {
        loop {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() || self.generators_running.load(Ordering::Relaxed) == 0 {
                return;
            }
            std::thread::sleep(left.min(TICK));
            each_tick();
        }
    }

    /// Marks one generator as ended when what it returns is dropped.
    pub(super) fn generator(&self) -> impl Drop {
        struct Ended<'a>(&'a Gate);
        impl Drop for Ended<'_> {
            fn drop(&mut self) {
                self.0.generators_running.fetch_sub(1, Ordering::Relaxed);
            }
        }
        Ended(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(requests: u64) -> Limit {
        Limit::Count {
            requests,
            deadline: Duration::from_secs(1),
        }
    }

    #[test]
    fn tickets_are_numbered_from_zero_and_end_at_the_count() {
        let gate = Gate::new(counted(2), 1);
        assert_eq!(
            [gate.ticket(), gate.ticket(), gate.ticket()],
            [Some(0), Some(1), None]
        );
    }

    #[test]
    fn phases_never_move_back() {
        let gate = Gate::new(counted(1), 1);
        for phase in [Phase::Idle, Phase::WarmUp, Phase::Measure, Phase::Stop] {
            gate.enter(phase);
            assert_eq!(gate.phase(), phase);
        }
        gate.enter(Phase::Measure);
        assert_eq!(gate.phase(), Phase::Stop);
    }

    #[test]
    fn waiting_ends_early_when_every_generator_has_ended() {
        let gate = Gate::new(counted(1), 1);
        drop(gate.generator());
        gate.wait_until(Instant::now() + Duration::from_secs(3600), || ());
        assert_eq!(gate.phase(), Phase::Idle);
    }
}
