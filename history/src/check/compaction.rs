//! What is compacted is refused, what is to come too, and nothing else.

use super::observed::ObservedRevisions;
use crate::timeline::Concerned;
use crate::verdict::{Rule, Verdict};
use crate::{
    History, OpId, Operation, Outcome, RangeRequest, Refusal, Request, Revision, Time, TxnOp,
    TxnRequest,
};

/// Checks all reads of the past and all compactions.
pub(super) fn check(history: &History, observed: &ObservedRevisions, verdict: &mut Verdict) {
    let compactions = Compactions::new(history);
    for (id, op) in history.ops.iter().enumerate() {
        let revisions = revisions_of(&op.request);
        if revisions.is_empty() {
            continue;
        }
        if let Some(text) = wrong(op, &revisions, &compactions, observed) {
            let concerned = Concerned::default()
                .op(OpId(id))
                .ops(compactions.0.iter().map(|it| it.id));
            let text = format!("{} {text}", OpId(id));
            verdict.violation(history, Rule::Compaction, text, &concerned);
        }
    }
}

fn wrong(
    op: &Operation,
    revisions: &[Revision],
    compactions: &Compactions,
    observed: &ObservedRevisions,
) -> Option<String> {
    let lowest = revisions.iter().min()?;
    let highest = revisions.iter().max()?;
    // A compaction at a revision that is compacted already is refused too.
    let is_compaction = matches!(op.request, Request::Compact(_));
    let needs = if is_compaction {
        *lowest
    } else {
        lowest.next()
    };
    match &op.outcome {
        Outcome::Refused {
            why: Refusal::Compacted,
            at,
        } => (!compactions.may_have_reached(needs, *at))
            .then(|| format!("was refused as compacted, but {lowest} was not")),
        Outcome::Refused {
            why: Refusal::FutureRevision,
            ..
        } if !is_serializable(&op.request) => observed
            .newest_before(op.call)
            .filter(|seen| seen.revision >= *highest)
            .map(|seen| {
                let seen = seen.revision;
                format!("was refused as of the future, but revision {seen} had been seen")
            }),
        Outcome::Ok(_) if !is_serializable(&op.request) => {
            let by = compactions.surely_reached(needs, op.call)?;
            Some(format!(
                "was done at revision {lowest}, but all below {by} was compacted before"
            ))
        }
        Outcome::Ok(_) | Outcome::Refused { .. } | Outcome::Unknown { .. } => None,
    }
}

fn is_serializable(request: &Request) -> bool {
    match request {
        Request::Range(range) => range.serializable,
        Request::Txn(txn) => txn.is_serializable(),
        _ => false,
    }
}

/// The revisions that a request names to read at, or to compact at.
fn revisions_of(request: &Request) -> Vec<Revision> {
    match request {
        Request::Range(RangeRequest { revision, .. }) => revision.iter().copied().collect(),
        // Of a transaction nobody knows which list was done if it was refused.
        Request::Txn(txn) if is_of_reads(txn) => {
            let ops = txn.success.iter().filter_map(|op| match op {
                TxnOp::Range(range) => range.revision,
                _ => None,
            });
            ops.collect()
        }
        Request::Compact(revision) => vec![*revision],
        _ => Vec::new(),
    }
}

/// Whether it reads in any case, and always the same.
fn is_of_reads(txn: &TxnRequest) -> bool {
    let mut ops = txn.success.iter();
    txn.compares.is_empty() && ops.all(|op| matches!(op, TxnOp::Range(_)))
}

struct Compaction {
    id: OpId,
    revision: Revision,
    call: Time,
    /// When it was acknowledged, if it was.
    done: Option<Time>,
}

struct Compactions(Vec<Compaction>);

impl Compactions {
    fn new(history: &History) -> Self {
        let mut all = Vec::new();
        for (id, op) in history.ops.iter().enumerate() {
            let Request::Compact(revision) = op.request else {
                continue;
            };
            if !matches!(op.outcome, Outcome::Refused { .. }) {
                all.push(Compaction {
                    id: OpId(id),
                    revision,
                    call: op.call,
                    done: op.outcome.answer().map(|answer| answer.at),
                });
            }
        }
        Self(all)
    }

    /// Whether one at `revision` or above may have been done by a time.
    fn may_have_reached(&self, revision: Revision, by: Time) -> bool {
        self.0
            .iter()
            .any(|it| it.revision >= revision && it.call <= by)
    }

    /// One at `revision` or above that was acknowledged before a time.
    fn surely_reached(&self, revision: Revision, before: Time) -> Option<Revision> {
        let reached = self
            .0
            .iter()
            .filter(|it| it.revision >= revision && it.done.is_some_and(|done| done < before));
        reached.map(|it| it.revision).max()
    }
}
