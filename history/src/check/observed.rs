//! Who knew when that a revision was there.
//!
//! Whatever shows a revision proves that the store had reached it: headers of answers, messages to
//! watchers. So a write was done before its revision was first seen, and whatever is called after
//! that and must be current shows it.

use crate::timeline::Concerned;
use crate::{History, OpId, Revision, Time, WatchId, WatchSays};

/// A revision was seen at some time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Observation {
    pub(crate) at: Time,
    pub(crate) revision: Revision,
    source: Source,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    Op(OpId),
    Watch(WatchId, usize),
}

/// All observed of a history.
#[derive(Debug)]
pub(crate) struct ObservedRevisions {
    /// By time, each the newest revision that was seen until then.
    newest: Vec<Observation>,
    /// By revision, each the earliest observation of this revision or a later one.
    earliest: Vec<Observation>,
}

impl Observation {
    /// The record that shows it.
    pub(crate) fn concerns(&self, concerned: Concerned) -> Concerned {
        match self.source {
            Source::Op(op) => concerned.op(op),
            Source::Watch(watch, response) => concerned.response(watch, response),
        }
    }
}

impl ObservedRevisions {
    pub(crate) fn new(history: &History) -> Self {
        let mut all = of_ops(history);
        all.extend(of_watches(history));
        all.sort_by_key(|it| (it.at, it.revision));
        let mut newest: Vec<Observation> = Vec::new();
        for observation in &all {
            if newest
                .last()
                .is_none_or(|last| last.revision < observation.revision)
            {
                newest.push(*observation);
            }
        }
        all.sort_by_key(|it| (it.revision, it.at));
        let mut earliest: Vec<Observation> = Vec::new();
        for observation in all.iter().rev() {
            if earliest.last().is_none_or(|last| observation.at < last.at) {
                earliest.push(*observation);
            }
        }
        earliest.reverse();
        Self { newest, earliest }
    }

    /// The newest revision that was seen before a time.
    pub(crate) fn newest_before(&self, time: Time) -> Option<&Observation> {
        let after = self.newest.partition_point(|it| it.at < time);
        self.newest.get(after.checked_sub(1)?)
    }

    /// When a revision, or a later one, was seen first.
    pub(crate) fn earliest_of(&self, revision: Revision) -> Option<&Observation> {
        let from = self.earliest.partition_point(|it| it.revision < revision);
        self.earliest.get(from)
    }

    /// The newest revision that anybody saw.
    pub(crate) fn newest(&self) -> Revision {
        self.newest.last().map_or(Revision::FRESH, |it| it.revision)
    }
}

fn of_ops(history: &History) -> Vec<Observation> {
    let ops = history.ops.iter().enumerate();
    ops.filter_map(|(id, op)| {
        let answer = op.outcome.answer()?;
        Some(Observation {
            at: answer.at,
            revision: answer.revision?,
            source: Source::Op(OpId(id)),
        })
    })
    .collect()
}

fn of_watches(history: &History) -> Vec<Observation> {
    let mut all = Vec::new();
    for (id, watch) in history.watches.iter().enumerate() {
        for (place, response) in watch.responses.iter().enumerate() {
            let events = match &response.says {
                WatchSays::Events { events, .. } => events.as_slice(),
                WatchSays::Created | WatchSays::Progress | WatchSays::Canceled { .. } => &[],
            };
            let of_events = events.iter().map(|event| event.kv.mod_revision).max();
            all.push(Observation {
                at: response.at,
                revision: of_events.unwrap_or_default().max(response.revision),
                source: Source::Watch(WatchId(id), place),
            });
        }
    }
    all
}
