//! A lease does not end before its time, and ends when it should.
//!
//! Nobody sees a lease end but by its keys, and nobody knows the store's clock. So it is held to what
//! surely was: a renewal that a client knows of happened after its call, and what was seen of the
//! keys' deletion was after it.

use std::collections::BTreeMap;

use super::observed::ObservedRevisions;
use super::order::{Order, Writer};
use crate::timeline::Concerned;
use crate::verdict::{Rule, Verdict};
use crate::{
    History, LeaseId, OpId, Operation, Outcome, PutRequest, Refusal, Request, Response, Revision,
    Time, TxnOp, TxnRequest,
};

const SECOND: u64 = 1_000_000_000;

/// How exactly leases are held to their times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaseTimes {
    /// The store's clocks may be so much faster than the history's, over one time to live.
    pub clock_error_nanos: u64,
    /// Keys must be gone so long after their lease's time at the latest; absent if that is not to be
    /// checked. Changes of the leader may add a time to live each.
    pub late_nanos_max: Option<u64>,
}

/// A grant or a renewal.
#[derive(Clone, Copy)]
struct Renewal {
    id: OpId,
    call: Time,
    /// When it was over at the latest.
    end: Time,
    /// Time to live from then on; absent if the client does not know that it was done.
    ttl_nanos: Option<u64>,
}

/// Everything about one lease.
#[derive(Default)]
struct Lease {
    renewals: Vec<Renewal>,
    /// Calls to revoke it that may have been done, each with its acknowledgement.
    revokes: Vec<(OpId, Time, Option<Time>)>,
}

/// When leases may have ended by themselves.
pub(super) struct Ends {
    leases: BTreeMap<LeaseId, Lease>,
    times: LeaseTimes,
}

impl Ends {
    pub(super) fn new(history: &History, times: LeaseTimes) -> Self {
        Self {
            leases: leases(history),
            times,
        }
    }

    /// Whether a lease may have ended by itself before `seen`.
    pub(super) fn may_be_before(&self, lease: LeaseId, seen: Time) -> bool {
        let renewals = self.leases.get(&lease).map(|it| it.renewals.as_slice());
        let mut renewals = renewals.unwrap_or_default().iter();
        renewals.all(|renewal| {
            not_before(renewal, &self.times)
                .is_none_or(|not_before| renewal.call <= seen && not_before <= seen)
        })
    }
}

/// Checks all leases.
pub(super) fn check(
    history: &History,
    order: &Order,
    observed: &ObservedRevisions,
    times: &LeaseTimes,
    verdict: &mut Verdict,
) {
    let leases = leases(history);
    for (revision, writer, changes) in order.iter() {
        if let Writer::Expiry(lease) = writer {
            let seen = observed.earliest_of(revision).map(|it| it.at);
            let what = match changes.first() {
                Some(change) => format!("{lease} ended at revision {revision} (`{change}`)"),
                None => format!("{lease} ended at revision {revision}"),
            };
            if let (Some(lease), Some(seen)) = (leases.get(lease), seen) {
                check_early(history, lease, seen, (revision, &what), times, verdict);
            }
        }
    }
    for (id, op) in history.ops.iter().enumerate() {
        check_op(history, (OpId(id), op), &leases, times, verdict);
    }
    if let Some(late_max) = times.late_nanos_max {
        check_late(history, order, &leases, late_max, verdict);
    }
}

fn leases(history: &History) -> BTreeMap<LeaseId, Lease> {
    let mut leases: BTreeMap<LeaseId, Lease> = BTreeMap::new();
    for (id, op) in history.ops.iter().enumerate() {
        let id = OpId(id);
        let body = op.outcome.answer().map(|answer| &answer.body);
        if matches!(op.outcome, Outcome::Refused { .. }) {
            continue;
        }
        let renewed = match (&op.request, body) {
            (_, Some(Response::LeaseGrant { id, ttl_secs })) => Some((*id, Some(*ttl_secs))),
            (Request::LeaseKeepAlive(lease), Some(Response::LeaseKeepAlive(ttl_secs))) => {
                (*ttl_secs > 0).then_some((*lease, Some(*ttl_secs)))
            }
            (
                Request::LeaseGrant {
                    id: Some(lease), ..
                }
                | Request::LeaseKeepAlive(lease),
                None,
            ) => Some((*lease, None)),
            _ => None,
        };
        if let Some((lease, ttl_secs)) = renewed {
            let ttl_nanos = ttl_secs.map(|it| u64::try_from(it).unwrap_or(0) * SECOND);
            leases.entry(lease).or_default().renewals.push(Renewal {
                id,
                call: op.call,
                end: op.outcome.at(),
                ttl_nanos,
            });
        }
        if let Request::LeaseRevoke(lease) = &op.request {
            let acknowledged = op.outcome.answer().map(|answer| answer.at);
            let revokes = &mut leases.entry(*lease).or_default().revokes;
            revokes.push((id, op.call, acknowledged));
        }
    }
    leases
}

/// The time before which the lease cannot have ended by itself, after this renewal.
fn not_before(renewal: &Renewal, times: &LeaseTimes) -> Option<Time> {
    let ttl = renewal.ttl_nanos?.saturating_sub(times.clock_error_nanos);
    Some(Time(renewal.call.0.saturating_add(ttl)))
}

fn check_early(
    history: &History,
    lease: &Lease,
    seen: Time,
    (_, what): (Revision, &str),
    times: &LeaseTimes,
    verdict: &mut Verdict,
) {
    for renewal in &lease.renewals {
        let Some(not_before) = not_before(renewal, times) else {
            continue;
        };
        if renewal.call > seen {
            let text = format!("{what}, but {} renewed it later", renewal.id);
            let concerned = Concerned::default().op(renewal.id);
            verdict.violation(history, Rule::Lease, text, &concerned);
        } else if seen < not_before {
            let text = format!(
                "{what} {:.3} s before its time, after {} renewed it",
                not_before.seconds_since(seen),
                renewal.id
            );
            let concerned = Concerned::default().op(renewal.id);
            verdict.violation(history, Rule::Lease, text, &concerned);
        }
    }
}

/// Looks at one use of leases: none that was revoked is of use, and none that lives is refused.
fn check_op(
    history: &History,
    (id, op): (OpId, &Operation),
    leases: &BTreeMap<LeaseId, Lease>,
    times: &LeaseTimes,
    verdict: &mut Verdict,
) {
    if let Some(text) = absurd(op) {
        let text = format!("{id} {text}");
        verdict.violation(history, Rule::Lease, text, &Concerned::default().op(id));
    }
    for lease_id in used(op) {
        let unknown = Lease::default();
        let lease = leases.get(&lease_id).unwrap_or(&unknown);
        let wrong = match &op.outcome {
            Outcome::Ok(answer) if says_gone(&answer.body) => {
                alive(lease, op.call, answer.at, times)
                    .map(|by| (format!("found no {lease_id}, which lived"), Some(by)))
            }
            Outcome::Ok(_) => dead(lease, lease_id, op),
            Outcome::Refused {
                at,
                why: Refusal::LeaseNotFound,
            } => alive(lease, op.call, *at, times)
                .map(|by| (format!("found no {lease_id}, which lived"), Some(by))),
            Outcome::Refused { .. } | Outcome::Unknown { .. } => None,
        };
        if let Some((text, by)) = wrong {
            let text = format!("{id} {text}");
            let concerned = Concerned::default().op(id).ops(by);
            verdict.violation(history, Rule::Lease, text, &concerned);
        }
    }
}

/// Whether an answer says that there is no such lease.
fn says_gone(body: &Response) -> bool {
    match body {
        Response::LeaseKeepAlive(ttl_secs) => *ttl_secs <= 0,
        Response::LeaseTimeToLive { ttl_secs, .. } => *ttl_secs < 0,
        _ => false,
    }
}

/// What cannot be in an answer about time, whatever happened.
fn absurd(op: &Operation) -> Option<String> {
    match &op.outcome.answer()?.body {
        Response::LeaseTimeToLive {
            ttl_secs,
            granted_secs,
            ..
        } if *ttl_secs > *granted_secs && *ttl_secs >= 0 => Some(format!(
            "says that {ttl_secs} s are left of {granted_secs} s"
        )),
        _ => None,
    }
}

/// Why a lease that was of use cannot have been there.
fn dead(lease: &Lease, id: LeaseId, op: &Operation) -> Option<(String, Option<OpId>)> {
    let end = op.outcome.at();
    if lease.renewals.iter().all(|it| it.call > end) {
        return Some((format!("used {id}, which was never granted"), None));
    }
    let mut revokes = lease.revokes.iter();
    let (by, ..) = revokes.find(|(.., done)| done.is_some_and(|done| done < op.call))?;
    Some((format!("used {id}, which was revoked before"), Some(*by)))
}

/// The renewal after which a lease surely lived for all this time.
fn alive(lease: &Lease, from: Time, to: Time, times: &LeaseTimes) -> Option<OpId> {
    if lease.revokes.iter().any(|(_, call, _)| *call <= to) {
        return None;
    }
    let mut renewals = lease.renewals.iter();
    let covering = renewals.find(|it| {
        it.end < from && not_before(it, times).is_some_and(|not_before| to < not_before)
    })?;
    Some(covering.id)
}

/// The leases that an operation needs to be there, if it was done.
fn used(op: &Operation) -> Vec<LeaseId> {
    match (&op.request, op.outcome.answer().map(|answer| &answer.body)) {
        (Request::Put(put), _) => put.lease.into_iter().collect(),
        (Request::Txn(txn), Some(Response::Txn(done))) => {
            let ops = if done.succeeded {
                &txn.success
            } else {
                &txn.failure
            };
            put_leases(ops)
        }
        // Refused, nobody knows for which list: only if both need the same is it known.
        (
            Request::Txn(TxnRequest {
                compares, success, ..
            }),
            None,
        ) if compares.is_empty() => {
            let leases = put_leases(success);
            if leases.len() == 1 {
                leases
            } else {
                Vec::new()
            }
        }
        (Request::LeaseKeepAlive(lease), Some(_)) => vec![*lease],
        (Request::LeaseTimeToLive { id, .. }, Some(_)) => vec![*id],
        (Request::LeaseRevoke(lease), _) => vec![*lease],
        _ => Vec::new(),
    }
}

fn put_leases(ops: &[TxnOp]) -> Vec<LeaseId> {
    let puts = ops.iter().filter_map(|op| match op {
        TxnOp::Put(PutRequest { lease, .. }) => *lease,
        TxnOp::Range(_) | TxnOp::DeleteRange(_) | TxnOp::Txn(_) => None,
    });
    puts.collect()
}

/// Keys that were still there long after their lease's time.
fn check_late(
    history: &History,
    order: &Order,
    leases: &BTreeMap<LeaseId, Lease>,
    late_max: u64,
    verdict: &mut Verdict,
) {
    for (id, op) in history.ops.iter().enumerate() {
        let Request::Range(range) = &op.request else {
            continue;
        };
        let revision = op.outcome.answer().and_then(|answer| answer.revision);
        let is_current = !range.serializable && range.revision.is_none();
        let Some(state) = revision.and_then(|it| order.states.at(it)) else {
            continue;
        };
        if !is_current {
            continue;
        }
        for kv in state.scan(&range.range) {
            let Some(lease_id) = kv.lease else { continue };
            let Some(gone_by) = leases.get(&lease_id).and_then(|it| gone_by(it, late_max)) else {
                continue;
            };
            if op.call > gone_by {
                let text = format!(
                    "{} still saw {kv}, {:.3} s after it was to be gone with its lease",
                    OpId(id),
                    op.call.seconds_since(gone_by)
                );
                let concerned = Concerned::default().op(OpId(id));
                verdict.violation(history, Rule::Lease, text, &concerned);
            }
        }
    }
}

/// When a lease's keys must be gone, if every renewal is known.
fn gone_by(lease: &Lease, late_max: u64) -> Option<Time> {
    let ends = lease.renewals.iter().map(|it| {
        let ttl = it.ttl_nanos?;
        Some(it.end.0.saturating_add(ttl))
    });
    let last = ends.collect::<Option<Vec<u64>>>()?.into_iter().max()?;
    Some(Time(last.saturating_add(late_max)))
}
