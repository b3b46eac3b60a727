//! What is known of a revision that nobody was acknowledged for: what watchers heard of it, versions
//! of keys that were read and say that it wrote them, and keys that it cannot have touched, since a
//! later event tells of an earlier version as the one before it.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use crate::{
    Data, Event, EventKind, History, KeyRange, KeyValue, Outcome, Response, Revision,
    TxnOpResponse, TxnResponse, Watch, WatchSays,
};

/// What is known of some revisions.
#[derive(Debug, Default)]
pub(crate) struct Evidence<'a> {
    of: BTreeMap<Revision, Known<'a>>,
    /// Versions that watchers heard of, of whatever revision: they tell how often the key was written
    /// before.
    puts: BTreeMap<(Revision, &'a Data), &'a KeyValue>,
}

#[derive(Debug, Default)]
struct Known<'a> {
    /// Versions that the revision wrote.
    written: BTreeMap<&'a Data, &'a KeyValue>,
    /// Keys that the revision left as they were.
    untouched: BTreeSet<&'a Data>,
    /// What a watcher heard of the revision, all of it and perhaps nothing.
    heard: Vec<(&'a Watch, Vec<&'a Event>)>,
}

impl<'a> Evidence<'a> {
    /// Collects what is known of these revisions.
    pub(crate) fn new(history: &'a History, revisions: impl Iterator<Item = Revision>) -> Self {
        let of = revisions.map(|it| (it, Known::default())).collect();
        let mut evidence = Self {
            of,
            puts: BTreeMap::new(),
        };
        for op in &history.ops {
            if let Outcome::Ok(answer) = &op.outcome {
                evidence.read_response(&answer.body);
            }
        }
        for watch in &history.watches {
            for (_, event) in watch.events() {
                if let Some(before) = &event.prev_kv {
                    evidence.read(before);
                    let place = (before.mod_revision, &before.key);
                    evidence.puts.insert(place, before);
                    evidence.skip(before, event.kv.mod_revision);
                }
                if event.kind == EventKind::Put {
                    evidence.read(&event.kv);
                    let place = (event.kv.mod_revision, &event.kv.key);
                    evidence.puts.insert(place, &event.kv);
                }
            }
            evidence.hear(watch);
        }
        evidence
    }

    fn read(&mut self, kv: &'a KeyValue) {
        if let Some(known) = self.of.get_mut(&kv.mod_revision) {
            // One without its value says less than one with it.
            let place = known.written.entry(&kv.key).or_insert(kv);
            if place.value.is_empty() {
                *place = kv;
            }
        }
    }

    /// Between a version of a key and the revision that found it nobody wrote the key.
    fn skip(&mut self, before: &'a KeyValue, found_by: Revision) {
        if before.mod_revision >= found_by {
            return;
        }
        let between = (
            Bound::Excluded(before.mod_revision),
            Bound::Excluded(found_by),
        );
        for (_, known) in self.of.range_mut(between) {
            known.untouched.insert(&before.key);
        }
    }

    fn read_response(&mut self, body: &'a Response) {
        match body {
            Response::Range(range) => range.kvs.iter().for_each(|kv| self.read(kv)),
            Response::Put(prev) => prev.iter().for_each(|kv| self.read(kv)),
            Response::DeleteRange(done) => done.prev_kvs.iter().for_each(|kv| self.read(kv)),
            Response::Txn(txn) => self.read_txn(txn),
            Response::LeaseGrant { .. }
            | Response::LeaseKeepAlive(_)
            | Response::LeaseTimeToLive { .. }
            | Response::Lock(_)
            | Response::HashKv(_)
            | Response::Done => {}
        }
    }

    fn read_txn(&mut self, txn: &'a TxnResponse) {
        for response in &txn.responses {
            match response {
                TxnOpResponse::Range(range) => range.kvs.iter().for_each(|kv| self.read(kv)),
                TxnOpResponse::Put(prev) => prev.iter().for_each(|kv| self.read(kv)),
                TxnOpResponse::DeleteRange(done) => {
                    done.prev_kvs.iter().for_each(|kv| self.read(kv));
                }
                TxnOpResponse::Txn(txn) => self.read_txn(txn),
            }
        }
    }

    fn hear(&mut self, watch: &'a Watch) {
        let (Some(first), Some(last)) = (first_revision(watch), heard_through(watch)) else {
            return;
        };
        if first > last {
            return;
        }
        for (_, known) in self.of.range_mut(first..=last) {
            known.heard.push((watch, Vec::new()));
        }
        for (_, event) in watch.events() {
            let known = self.of.get_mut(&event.kv.mod_revision);
            let heard = known.and_then(|known| known.heard.last_mut());
            if let Some((_, events)) = heard.filter(|(other, _)| std::ptr::eq(*other, watch)) {
                events.push(event);
            }
        }
    }

    /// Whether a revision may have made these changes, after all that is known.
    pub(crate) fn allows(&self, revision: Revision, changes: &[Event]) -> bool {
        let Some(known) = self.of.get(&revision) else {
            return true;
        };
        let written = known.written.values().all(|kv| {
            let mut puts = changes.iter().filter(|it| it.kind == EventKind::Put);
            puts.any(|it| it.kv.key == kv.key && says_no_other(&it.kv, kv))
        });
        let mut touched = changes.iter().map(|it| &it.kv.key);
        written
            && !touched.any(|key| known.untouched.contains(key))
            && known.heard.iter().all(|(watch, events)| {
                let due = changes.iter().filter(|it| is_due(watch, it));
                due.map(identity).eq(events.iter().map(|it| identity(it)))
            })
    }

    /// Whether watchers heard otherwise of what an acknowledged write did: then the writes before it
    /// were others.
    pub(crate) fn contradicts(&self, revision: Revision, changes: &[Event]) -> bool {
        let mut puts = changes.iter().filter(|it| it.kind == EventKind::Put);
        puts.any(|it| {
            let heard = self.puts.get(&(revision, &it.kv.key));
            heard.is_some_and(|heard| !says_no_other(&it.kv, heard))
        })
    }

    /// What is known of a revision, for people.
    pub(crate) fn describe(&self, revision: Revision) -> String {
        let Some(known) = self.of.get(&revision) else {
            return String::new();
        };
        let events = known.heard.iter().flat_map(|(_, events)| events);
        let mut texts: Vec<String> = events.map(ToString::to_string).collect();
        texts.extend(known.written.values().map(|kv| format!("put {kv}")));
        texts.sort();
        texts.dedup();
        texts.join(", ")
    }

    /// The versions that a revision is known to have written.
    pub(crate) fn written(&self, revision: Revision) -> Vec<&'a KeyValue> {
        let Some(known) = self.of.get(&revision) else {
            return Vec::new();
        };
        let heard = known.heard.iter().flat_map(|(_, events)| events);
        let puts = heard
            .filter(|it| it.kind == EventKind::Put)
            .map(|it| &it.kv);
        known.written.values().copied().chain(puts).collect()
    }
}

/// Whether a version is the one seen, which may lack its value, and its lease with it.
fn says_no_other(model: &KeyValue, seen: &KeyValue) -> bool {
    if seen.value.is_empty() {
        return (seen.create_revision, seen.version) == (model.create_revision, model.version);
    }
    seen == model
}

/// What an event says of a revision: of a deletion only the key counts.
fn identity(event: &Event) -> (&Data, Option<&KeyValue>) {
    let kv = (event.kind == EventKind::Put).then_some(&event.kv);
    (&event.kv.key, kv)
}

/// Whether a watcher is to hear of a change: range and filters, not revisions.
pub(crate) fn is_due(watch: &Watch, event: &Event) -> bool {
    let request = &watch.request;
    let filtered = match event.kind {
        EventKind::Put => request.no_put,
        EventKind::Delete => request.no_delete,
    };
    !filtered && in_range(&request.range, event)
}

pub(crate) fn in_range(range: &KeyRange, event: &Event) -> bool {
    range.contains(&event.kv.key)
}

/// The first revision that a watcher is to hear of, if that can be known.
pub(crate) fn first_revision(watch: &Watch) -> Option<Revision> {
    if let Some(start) = watch.request.start {
        return Some(start);
    }
    let created = watch
        .responses
        .iter()
        .find(|it| it.says == WatchSays::Created)?;
    Some(created.revision.next())
}

/// The last revision up to which a watcher has heard everything, if that is as promised.
pub(crate) fn heard_through(watch: &Watch) -> Option<Revision> {
    let mut through = None;
    for response in &watch.responses {
        let revision = match &response.says {
            WatchSays::Events { events, fragment } => {
                let last = events.last().map(|it| it.kv.mod_revision);
                last.map(|it| if *fragment { it.previous() } else { it })
            }
            WatchSays::Progress => Some(response.revision),
            WatchSays::Created | WatchSays::Canceled { .. } => None,
        };
        through = through.max(revision);
    }
    through
}
