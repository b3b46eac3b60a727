//! Playing schedules, judging what came of them, and making those that fail short.

use std::cell::RefCell;
use std::panic::{self, AssertUnwindSafe, catch_unwind};

use cairn_history::{History, LeaseTimes, Limits};

use crate::planted::Planted;
use crate::schedule::Schedule;
use crate::trace::Line;
use crate::world::{Played, World};

/// How often a failing schedule is played at most to make it shorter.
const SHRINK_TRIES_MAX: usize = 400;

/// How a schedule is played.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// A bug that all members have.
    pub planted: Option<Planted>,
    /// Whether to keep what happened, for people.
    pub keep_lines: bool,
}

/// What came of a schedule.
#[derive(Debug)]
pub struct Report {
    /// A number that stands for all that happened.
    pub digest: u64,
    /// What is wrong, if anything.
    pub failure: Option<Failure>,
    /// What clients saw.
    pub history: History,
    /// All that happened, if it was to be kept.
    pub lines: Vec<Line>,
    /// Events that happened.
    pub events: u64,
}

/// What is wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// A rule that must hold at every step.
    #[error("{0}")]
    Broken(String),
    /// What clients saw cannot be.
    #[error("{0}")]
    Seen(String),
    /// The product panicked.
    #[error("panic: {0}")]
    Panic(String),
}

/// Plays a schedule and checks what came of it.
#[must_use]
pub fn play(schedule: &Schedule, options: Options) -> Report {
    let played = catch_unwind(AssertUnwindSafe(|| {
        World::play(schedule, options.planted, options.keep_lines)
    }));
    let Ok(played) = played else {
        return Report {
            digest: 0,
            failure: Some(Failure::Panic(LAST_PANIC.take())),
            history: History::new(),
            lines: Vec::new(),
            events: 0,
        };
    };
    let Played {
        history,
        violation,
        digest,
        lines,
        events,
    } = played;
    let failure = match violation {
        Some(violation) => Some(Failure::Broken(violation.0)),
        None => verdict_of(schedule, &history),
    };
    Report {
        digest,
        failure,
        history,
        lines,
        events,
    }
}

thread_local! {
    /// What the last panic of this thread said, and where.
    static LAST_PANIC: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Lets panics be reported as failures of their schedules, and not printed.
pub fn keep_panics() {
    panic::set_hook(Box::new(|panic| LAST_PANIC.set(panic.to_string())));
}

/// The shortest schedule found that still fails.
#[must_use]
pub fn shrink(schedule: &Schedule, options: Options) -> Schedule {
    let steps = cairn_history::shrink(&schedule.steps, SHRINK_TRIES_MAX, |steps| {
        let shorter = Schedule {
            cluster: schedule.cluster.clone(),
            steps: steps.to_vec(),
        };
        let options = Options {
            keep_lines: false,
            ..options
        };
        play(&shorter, options).failure.is_some()
    });
    Schedule {
        cluster: schedule.cluster.clone(),
        steps,
    }
}

/// How exactly leases are held to their times: to the millisecond in which members look at clocks, and
/// the beginning of the next.
const CLOCK_ERROR_NANOS: u64 = 2_000_000;

fn verdict_of(schedule: &Schedule, history: &History) -> Option<Failure> {
    let late = schedule.cluster.lease_late;
    let limits = Limits {
        leases: Some(LeaseTimes {
            clock_error_nanos: CLOCK_ERROR_NANOS,
            late_nanos_max: late.map(|late| late.0 * 1_000_000),
        }),
        ..Limits::default()
    };
    let verdict = cairn_history::check(history, &limits);
    (!verdict.is_clean()).then(|| Failure::Seen(verdict.to_string()))
}
