//! What etcd promises watchers.
//!
//! `stream` looks at what one watcher heard alone; `content` compares it with the order of all
//! writes, where that is known.

mod content;
mod stream;

use super::order::Order;
use crate::timeline::Concerned;
use crate::verdict::{Rule, Verdict};
use crate::{History, Outcome, Request, Revision, Time, Watch, WatchId};

/// Checks all watchers.
pub(super) fn check(history: &History, order: Option<&Order>, verdict: &mut Verdict) {
    let compactions = Compactions::new(history);
    let acknowledged = acknowledged(history);
    for (id, watch) in history.watches.iter().enumerate() {
        let mut watcher = Watcher {
            history,
            id: WatchId(id),
            watch,
            compactions: &compactions,
            acknowledged,
            verdict,
        };
        let is_in_order = stream::check(&mut watcher);
        if let Some(order) = order.filter(|_| is_in_order) {
            content::check(&mut watcher, order);
        }
    }
}

/// A watcher under examination.
struct Watcher<'a> {
    history: &'a History,
    id: WatchId,
    watch: &'a Watch,
    compactions: &'a Compactions,
    /// The newest revision that was acknowledged before all was healed, if it was.
    acknowledged: Option<Revision>,
    verdict: &'a mut Verdict,
}

fn acknowledged(history: &History) -> Option<Revision> {
    let settled = history.settled?;
    let answers = history.ops.iter().filter_map(|op| op.outcome.answer());
    let before = answers.filter(|answer| answer.at < settled);
    before.filter_map(|answer| answer.revision).max()
}

impl Watcher<'_> {
    /// Notes what is wrong with some of the responses.
    fn wrong(&mut self, rule: Rule, responses: &[usize], text: &str) {
        let concerned = self.concerned(responses);
        self.wrong_with(rule, &concerned, text);
    }

    fn wrong_with(&mut self, rule: Rule, concerned: &Concerned, text: &str) {
        let text = format!("{}: {text}", self.id);
        self.verdict.violation(self.history, rule, text, concerned);
    }

    fn concerned(&self, responses: &[usize]) -> Concerned {
        let responses = responses.iter();
        responses.fold(Concerned::default(), |concerned, response| {
            concerned.response(self.id, *response)
        })
    }
}

/// Compactions that may have been done, with the times of their calls.
struct Compactions(Vec<(Revision, Time)>);

impl Compactions {
    fn new(history: &History) -> Self {
        let ops = history.ops.iter();
        let compactions = ops.filter_map(|op| match (&op.request, &op.outcome) {
            (Request::Compact(_), Outcome::Refused { .. }) => None,
            (Request::Compact(revision), _) => Some((*revision, op.call)),
            _ => None,
        });
        Self(compactions.collect())
    }

    /// Whether history below `revision` may have been gone at a time.
    fn may_have_reached(&self, revision: Revision, by: Time) -> bool {
        let mut all = self.0.iter();
        all.any(|(compacted, call)| *compacted >= revision && *call <= by)
    }

    /// Whether this very compaction may have been done by a time.
    fn may_have_been(&self, revision: Revision, by: Time) -> bool {
        let mut all = self.0.iter();
        all.any(|(compacted, call)| *compacted == revision && *call <= by)
    }
}
