//! Once all is healed, every member shows what was acknowledged.

use super::observed::ObservedRevisions;
use crate::timeline::Concerned;
use crate::verdict::{Rule, Verdict};
use crate::{History, OpId, Request};

/// Checks what was answered after the history settled.
pub(super) fn check(history: &History, observed: &ObservedRevisions, verdict: &mut Verdict) {
    let Some(settled) = history.settled else {
        return;
    };
    let Some(seen) = observed.newest_before(settled) else {
        return;
    };
    for (id, op) in history.ops.iter().enumerate() {
        let is_of_keys = matches!(op.request, Request::Range(_) | Request::Txn(_));
        if op.call < settled || !is_of_keys {
            continue;
        }
        let revision = op.outcome.answer().and_then(|answer| answer.revision);
        if let Some(revision) = revision.filter(|revision| *revision < seen.revision) {
            let text = format!(
                "all was healed and revision {} had been seen, but {} is still at {revision}",
                seen.revision, op.member
            );
            let concerned = seen.concerns(Concerned::default().op(OpId(id)));
            verdict.violation(history, Rule::Durable, text, &concerned);
        }
    }
}
