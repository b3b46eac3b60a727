//! A term has one leader, and a member's term does not go back, unless its data does.

use std::collections::BTreeMap;

use crate::timeline::Concerned;
use crate::verdict::{Rule, Verdict};
use crate::{History, IncidentKind, Leadership, MemberId, Term, Time};

/// Checks everything that members said of who leads.
pub(super) fn check(history: &History, verdict: &mut Verdict) {
    let mut seen: Vec<&Leadership> = history.leaderships.iter().collect();
    seen.sort_by_key(|it| it.at);
    let mut leaders: BTreeMap<Term, (MemberId, MemberId)> = BTreeMap::new();
    let mut terms: BTreeMap<MemberId, (Time, Term)> = BTreeMap::new();
    for it in seen {
        let (since, before) = terms
            .insert(it.member, (it.at, it.term))
            .unwrap_or((it.at, it.term));
        if it.term < before && !is_replaced(history, it.member, since, it.at) {
            let text = format!("{} went back from {before} to {}", it.member, it.term);
            verdict.violation(history, Rule::NeverBack, text, &Concerned::default());
        }
        let Some(leader) = it.leader else { continue };
        let (other, by) = *leaders.entry(it.term).or_insert((leader, it.member));
        if other != leader {
            let text = format!(
                "{} is led by {other}, says {by}, and by {leader}, says {}",
                it.term, it.member
            );
            verdict.violation(history, Rule::OneLeader, text, &Concerned::default());
        }
    }
}

/// Whether a member's data was replaced in between.
fn is_replaced(history: &History, member: MemberId, from: Time, to: Time) -> bool {
    history.incidents.iter().any(|it| {
        let is_its = it.what == IncidentKind::DataReplaced && it.member == Some(member);
        is_its && from <= it.at && it.at <= to
    })
}
