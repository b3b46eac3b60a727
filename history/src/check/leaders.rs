//! A term has one leader, and a member's term does not go back.

use std::collections::BTreeMap;

use crate::timeline::Concerned;
use crate::verdict::{Rule, Verdict};
use crate::{History, Leadership, MemberId, Term};

/// Checks everything that members said of who leads.
pub(super) fn check(history: &History, verdict: &mut Verdict) {
    let mut seen: Vec<&Leadership> = history.leaderships.iter().collect();
    seen.sort_by_key(|it| it.at);
    let mut leaders: BTreeMap<Term, (MemberId, MemberId)> = BTreeMap::new();
    let mut terms: BTreeMap<MemberId, Term> = BTreeMap::new();
    for it in seen {
        let before = terms.entry(it.member).or_insert(it.term);
        if it.term < *before {
            let text = format!("{} went back from {before} to {}", it.member, it.term);
            verdict.violation(history, Rule::NeverBack, text, &Concerned::default());
        }
        *before = it.term;
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
