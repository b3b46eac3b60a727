//! The checks.

mod agree;
mod compaction;
mod evidence;
mod hashes;
mod leaders;
mod leases;
mod locks;
mod observed;
mod order;
mod place;
mod real_time;
mod sessions;
mod settled;
mod watches;

pub use self::leases::LeaseTimes;

use self::evidence::Evidence;
use self::leases::Ends;
use self::observed::ObservedRevisions;
use self::order::{Found, Mismatch, Order, Search};
use self::place::Place;
use crate::timeline::Concerned;
use crate::verdict::{Counts, Rule, Verdict};
use crate::{History, OpId, Outcome};

/// How far the checks go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Steps of the model that the search for the order of writes may take. Far more than one for each
    /// operation are only needed where the order is not known from answers and watchers.
    pub steps_max: usize,
    /// How exactly leases are held to their times; absent if they are not.
    pub leases: Option<LeaseTimes>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            steps_max: 5_000_000,
            leases: None,
        }
    }
}

/// Checks everything that clients may rely on.
#[must_use]
pub fn check(history: &History, limits: &Limits) -> Verdict {
    let mut verdict = Verdict {
        counts: counts(history),
        ..Verdict::default()
    };
    let places = places(history, &mut verdict);
    let observed = ObservedRevisions::new(history);
    real_time::check_unique(history, &places, &mut verdict);
    real_time::check_stale(history, &places, &observed, &mut verdict);
    let order = find_order(history, &places, &observed, limits, &mut verdict);
    if let Some(order) = &order {
        real_time::check_foreseen(history, order, &observed, &mut verdict);
        let done = order.iter().filter_map(|(revision, ..)| order.op(revision));
        let ops = done.filter_map(|id| history.ops.get(id.0));
        let unknown = ops.filter(|op| matches!(op.outcome, Outcome::Unknown { .. }));
        verdict.counts.unknown_done = unknown.count();
        verdict.counts.revisions = order.iter().count();
        locks::check(history, order, &mut verdict);
        if let Some(times) = &limits.leases {
            leases::check(history, order, &observed, times, &mut verdict);
        }
    }
    locks::check_fences(history, &mut verdict);
    compaction::check(history, &observed, &mut verdict);
    sessions::check(history, &mut verdict);
    settled::check(history, &observed, &mut verdict);
    hashes::check(history, &mut verdict);
    leaders::check(history, &mut verdict);
    watches::check(history, order.as_ref(), &mut verdict);
    verdict
}

fn counts(history: &History) -> Counts {
    let unknown = |op: &&crate::Operation| {
        matches!(op.outcome, Outcome::Unknown { .. }) && op.request.may_write()
    };
    Counts {
        ops: history.ops.len(),
        unknown: history.ops.iter().filter(unknown).count(),
        watches: history.watches.len(),
        events: history.watches.iter().map(|it| it.events().count()).sum(),
        ..Counts::default()
    }
}

/// The place of each operation; what is wrong with an answer is noted and has none.
fn places(history: &History, verdict: &mut Verdict) -> Vec<Place> {
    let mut places = Vec::with_capacity(history.ops.len());
    for (id, op) in history.ops.iter().enumerate() {
        let id = OpId(id);
        if op.outcome.at() < op.call {
            let text = format!("{id} ended before it was called");
            let concerned = Concerned::default().op(id);
            verdict.violation(history, Rule::WellFormed, text, &concerned);
        }
        places.push(Place::of(op).unwrap_or_else(|wrong| {
            let concerned = Concerned::default().op(id);
            let text = format!("{id}: {wrong}");
            verdict.violation(history, Rule::WellFormed, text, &concerned);
            Place::Nowhere
        }));
    }
    places
}

/// The order of all writes, if there is one.
///
/// It is first sought among the orders that agree with all that watchers heard, and in which no lease
/// ends before its time. If there is none, either the store is wrong, or the watchers were told wrong,
/// or a lease ended early; so it is sought without them, and if that finds one, the checks of watchers
/// and leases say what was wrong.
fn find_order(
    history: &History,
    places: &[Place],
    observed: &ObservedRevisions,
    limits: &Limits,
    verdict: &mut Verdict,
) -> Option<Order> {
    let search = || Search::new(history, places, observed, limits.steps_max);
    let evidence = Evidence::new(history, search().holes());
    let ends = limits.leases.map(|times| Ends::new(history, times));
    let mut with_evidence = search().with_evidence(&evidence, ends.as_ref());
    let found = with_evidence.run();
    verdict.counts.steps = with_evidence.steps;
    let found = if matches!(found, Found::Order(..)) {
        found
    } else {
        let mut without = search();
        let again = without.run();
        verdict.counts.steps += without.steps;
        match again {
            Found::Order(order, wrong) if wrong.is_empty() => {
                verdict.undecided.extend(why_none(&found));
                Found::Order(order, wrong)
            }
            _ => found,
        }
    };
    match found {
        Found::Order(order, wrong) => {
            note(history, &wrong, verdict);
            Some(order)
        }
        Found::Nothing(wrong) => {
            note(history, &wrong, verdict);
            let text =
                "without an order of all writes, what watchers heard is not compared with it";
            verdict.undecided.push(text.to_owned());
            None
        }
        Found::GaveUp(revision) => {
            verdict.undecided.push(format!(
                "the search for the order of writes gave up at revision {revision} after {} steps",
                limits.steps_max
            ));
            None
        }
    }
}

/// What keeps all orders from agreeing with watchers and leases: the cause of the violations that an order
/// without them shows.
fn why_none(found: &Found) -> Option<String> {
    let Found::Nothing(wrong) = found else {
        return None;
    };
    let text = &wrong.last()?.text;
    Some(format!(
        "no order of all writes agrees with all that watchers heard and with the times of leases: {text}"
    ))
}

fn note(history: &History, wrong: &[Mismatch], verdict: &mut Verdict) {
    for mismatch in wrong {
        let text = mismatch.text.clone();
        verdict.violation(history, mismatch.rule, text, &mismatch.concerned);
    }
}
