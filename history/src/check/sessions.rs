//! A member's revision does not go back while it runs, and its term never, unless its data does.

use std::collections::BTreeMap;

use crate::timeline::Concerned;
use crate::verdict::{Rule, Verdict};
use crate::{History, IncidentKind, MemberId, OpId, Operation, Request, Time};

/// Answers of one member, of one run or of one data directory, whichever counts.
type Session = (MemberId, usize);

/// Checks all members.
pub(super) fn check(history: &History, verdict: &mut Verdict) {
    let mut revisions: BTreeMap<Session, Vec<Seen>> = BTreeMap::new();
    let mut terms: BTreeMap<Session, Vec<Seen>> = BTreeMap::new();
    let runs = Runs::new(history);
    for (id, op) in history.ops.iter().enumerate() {
        let Some(answer) = op.outcome.answer() else {
            continue;
        };
        // A lock's answer is one that the server got as a client.
        if matches!(op.request, Request::Lock { .. }) {
            continue;
        }
        let seen = |number| Seen {
            id: OpId(id),
            call: op.call,
            at: answer.at,
            number,
        };
        if let (Some(revision), Some(run)) = (answer.revision, runs.of(op)) {
            let session = revisions.entry((op.member, run)).or_default();
            session.push(seen(i128::from(revision.0)));
        }
        if let Some(term) = answer.term
            && let Some(data) = data_of(history, op)
        {
            let session = terms.entry((op.member, data)).or_default();
            session.push(seen(i128::from(term.0)));
        }
    }
    for (what, sessions) in [("revision", revisions), ("term", terms)] {
        for ((member, _), seen) in sessions {
            check_session(history, (member, what), seen, verdict);
        }
    }
}

/// A number in an answer.
#[derive(Clone, Copy)]
struct Seen {
    id: OpId,
    call: Time,
    at: Time,
    number: i128,
}

fn check_session(
    history: &History,
    (member, what): (MemberId, &str),
    mut seen: Vec<Seen>,
    verdict: &mut Verdict,
) {
    let mut ended = seen.clone();
    ended.sort_by_key(|it| it.at);
    seen.sort_by_key(|it| it.call);
    let mut ended = ended.into_iter().peekable();
    let mut highest: Option<Seen> = None;
    for op in seen {
        while let Some(before) = ended.next_if(|it| it.at < op.call) {
            if highest.is_none_or(|highest| highest.number < before.number) {
                highest = Some(before);
            }
        }
        if let Some(before) = highest.filter(|before| op.number < before.number) {
            let text = format!(
                "{member} answered {} at {what} {}, and then {} at {what} {}",
                before.id, before.number, op.id, op.number
            );
            let concerned = Concerned::default().ops([before.id, op.id]);
            verdict.violation(history, Rule::NeverBack, text, &concerned);
        }
    }
}

/// Which of its data directories a member had when an operation was called and answered, if it was one
/// alone.
fn data_of(history: &History, op: &Operation) -> Option<usize> {
    let replaced_by = |at: Time| {
        let incidents = history.incidents.iter();
        let replaced = incidents.filter(|it| {
            it.what == IncidentKind::DataReplaced && it.member == Some(op.member) && it.at <= at
        });
        replaced.count()
    };
    let data = replaced_by(op.call);
    (data == replaced_by(op.outcome.at())).then_some(data)
}

/// From when to when each member ran.
struct Runs(BTreeMap<MemberId, Vec<(Time, bool)>>);

impl Runs {
    fn new(history: &History) -> Self {
        let mut bounds: BTreeMap<MemberId, Vec<(Time, bool)>> = BTreeMap::new();
        for incident in &history.incidents {
            let runs = match incident.what {
                IncidentKind::Started => true,
                IncidentKind::Stopped => false,
                IncidentKind::DataReplaced | IncidentKind::Note(_) => continue,
            };
            if let Some(member) = incident.member {
                bounds.entry(member).or_default().push((incident.at, runs));
            }
        }
        for bounds in bounds.values_mut() {
            bounds.sort();
        }
        Self(bounds)
    }

    /// The run in which an operation was called and answered, if it was one alone. What came between
    /// a stop and the start after it may be of either run, and is not compared.
    fn of(&self, op: &Operation) -> Option<usize> {
        let Some(bounds) = self.0.get(&op.member) else {
            return Some(0);
        };
        let run = bounds.partition_point(|(at, _)| *at <= op.call);
        let end = bounds.partition_point(|(at, _)| *at <= op.outcome.at());
        let runs = run
            .checked_sub(1)
            .and_then(|before| bounds.get(before))
            .is_none_or(|(_, runs)| *runs);
        (runs && run == end).then_some(run)
    }
}
