//! Whether the places of operations agree with time.

use std::collections::BTreeMap;

use super::observed::ObservedRevisions;
use super::order::Order;
use super::place::Place;
use crate::timeline::Concerned;
use crate::verdict::{Rule, Verdict};
use crate::{History, OpId, Revision};

/// Two operations that were acknowledged for the same revision.
pub(super) fn check_unique(history: &History, places: &[Place], verdict: &mut Verdict) {
    let mut made_by: BTreeMap<Revision, OpId> = BTreeMap::new();
    for (id, place) in places.iter().enumerate() {
        let id = OpId(id);
        let Place::Made(revision) = place else {
            continue;
        };
        if let Some(other) = made_by.insert(*revision, id) {
            let text = format!("{other} and {id} both say that they made revision {revision}");
            let concerned = Concerned::default().ops([other, id]);
            verdict.violation(history, Rule::StrictlySerializable, text, &concerned);
        }
        if *revision == Revision::FRESH {
            let text = format!("{id} says that it made revision {revision}, the empty store's");
            let concerned = Concerned::default().op(id);
            verdict.violation(history, Rule::StrictlySerializable, text, &concerned);
        }
    }
}

/// Operations whose place is older than what was seen before they were called.
pub(super) fn check_stale(
    history: &History,
    places: &[Place],
    observed: &ObservedRevisions,
    verdict: &mut Verdict,
) {
    for (id, (place, op)) in places.iter().zip(&history.ops).enumerate() {
        let id = OpId(id);
        let Some(seen) = observed.newest_before(op.call) else {
            continue;
        };
        let (revision, is_stale) = match *place {
            Place::Made(revision) => (revision, revision <= seen.revision),
            Place::After(revision) | Place::MadeOrAfter(revision) => {
                (revision, revision < seen.revision)
            }
            Place::Of(_) | Place::Open | Place::Nowhere => continue,
        };
        if is_stale {
            let text = format!(
                "{id} was called after revision {} had been seen, but was done at revision {revision}",
                seen.revision
            );
            let concerned = seen.concerns(Concerned::default().op(id));
            verdict.violation(history, Rule::StrictlySerializable, text, &concerned);
        }
    }
}

/// Writes whose revision was seen before they were called.
pub(super) fn check_foreseen(
    history: &History,
    order: &Order,
    observed: &ObservedRevisions,
    verdict: &mut Verdict,
) {
    for (revision, ..) in order.iter() {
        let Some(id) = order.op(revision) else {
            continue;
        };
        let Some(op) = history.ops.get(id.0) else {
            continue;
        };
        if let Some(seen) = observed.earliest_of(revision)
            && seen.at < op.call
        {
            let text = format!(
                "{id} made revision {revision}, but revision {} was seen before it was called",
                seen.revision
            );
            let concerned = seen.concerns(Concerned::default().op(id));
            verdict.violation(history, Rule::StrictlySerializable, text, &concerned);
        }
    }
}
