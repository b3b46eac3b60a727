//! The store as a child would write it: a whole map for every revision.

use std::collections::BTreeMap;

use bytes::Bytes;
use cairn_mvcc::{CompactionPoint, KeyRange, RangeQuery, RevisionFilter, SortOrder, SortTarget};
use cairn_proto::mvccpb::KeyValue;

/// One revision: every live key.
pub(crate) type Keys = BTreeMap<Bytes, KeyValue>;

/// A change, as watchers are told.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ModelEvent {
    pub(crate) revision: i64,
    pub(crate) put: bool,
    pub(crate) kv: KeyValue,
    pub(crate) previous: Option<KeyValue>,
}

/// One operation of a transaction.
#[derive(Clone, Debug)]
pub(crate) enum Operation {
    Put {
        key: Bytes,
        value: Bytes,
        lease: i64,
    },
    Delete(KeyRange),
}

/// Every revision since the beginning.
#[derive(Clone, Debug)]
pub(crate) struct Model {
    revisions: Vec<Keys>,
    pub(crate) events: Vec<ModelEvent>,
    pub(crate) compacted: Option<CompactionPoint>,
}

/// What a range should give.
#[derive(Debug, PartialEq)]
pub(crate) struct Answer {
    pub(crate) kvs: Vec<KeyValue>,
    pub(crate) count: u64,
    pub(crate) more: bool,
}

impl Model {
    pub(crate) fn new() -> Self {
        Self {
            revisions: vec![Keys::new()],
            events: Vec::new(),
            compacted: None,
        }
    }

    /// The current revision; the empty store is at 1.
    pub(crate) fn current(&self) -> i64 {
        self.revisions.len() as i64
    }

    pub(crate) fn at(&self, revision: i64) -> &Keys {
        &self.revisions[usize::try_from(revision - 1).unwrap()]
    }

    pub(crate) fn first(&self) -> i64 {
        self.compacted.map_or(1, |point| point.to_wire().max(1))
    }

    /// Applies a transaction: the revision after it.
    pub(crate) fn apply(&mut self, operations: &[Operation]) -> i64 {
        let revision = self.current() + 1;
        let mut keys = self.at(self.current()).clone();
        let before = self.events.len();
        for operation in operations {
            match operation {
                Operation::Put { key, value, lease } => {
                    let previous = keys.get(key).cloned();
                    let kv = KeyValue {
                        key: key.clone(),
                        value: value.clone(),
                        lease: *lease,
                        mod_revision: revision,
                        create_revision: previous
                            .as_ref()
                            .map_or(revision, |it| it.create_revision),
                        version: previous.as_ref().map_or(1, |it| it.version + 1),
                    };
                    keys.insert(key.clone(), kv.clone());
                    self.events.push(ModelEvent {
                        revision,
                        put: true,
                        kv,
                        previous,
                    });
                }
                Operation::Delete(range) => {
                    let doomed = keys.keys().filter(|key| range.contains(key));
                    for key in doomed.cloned().collect::<Vec<_>>() {
                        let previous = keys.remove(&key);
                        let kv = KeyValue {
                            key,
                            mod_revision: revision,
                            ..KeyValue::default()
                        };
                        self.events.push(ModelEvent {
                            revision,
                            put: false,
                            kv,
                            previous,
                        });
                    }
                }
            }
        }
        if self.events.len() > before {
            self.revisions.push(keys);
        }
        self.current()
    }

    /// Forgets every revision after `revision`, as a crash does.
    pub(crate) fn truncate(&mut self, revision: i64, compacted: Option<CompactionPoint>) {
        self.revisions.truncate(usize::try_from(revision).unwrap());
        self.events.retain(|event| event.revision <= revision);
        self.compacted = compacted;
    }

    /// Answers a range as etcd 3.7 documents it, without any cleverness.
    pub(crate) fn range(&self, query: &RangeQuery, at: i64) -> Answer {
        let keys = self
            .at(at)
            .values()
            .filter(|kv| query.range.contains(&kv.key));
        let mut kvs: Vec<KeyValue> = keys.cloned().collect();
        let count = kvs.len() as u64;
        if query.count_only {
            return Answer {
                kvs: Vec::new(),
                count,
                more: false,
            };
        }
        let limit = query.limit.map_or(usize::MAX, usize::from);
        let filtered = [query.modified, query.created]
            .iter()
            .any(|it| *it != RevisionFilter::default());
        let early = !filtered
            && (query.order == SortOrder::None
                || (query.order == SortOrder::Ascend && query.target == SortTarget::Key));
        if early {
            kvs.truncate(limit.saturating_add(1));
        }
        let admits = |filter: RevisionFilter, revision: i64| {
            filter.min.is_none_or(|min| revision >= min)
                && filter.max.is_none_or(|max| revision <= max)
        };
        kvs.retain(|kv| {
            admits(query.modified, kv.mod_revision) && admits(query.created, kv.create_revision)
        });
        kvs.sort_by(|a, b| {
            let ordering = match query.target {
                SortTarget::Key => a.key.cmp(&b.key),
                SortTarget::Version => a.version.cmp(&b.version),
                SortTarget::Create => a.create_revision.cmp(&b.create_revision),
                SortTarget::Modify => a.mod_revision.cmp(&b.mod_revision),
                SortTarget::Value => a.value.cmp(&b.value),
            };
            match query.order {
                SortOrder::None | SortOrder::Ascend => ordering,
                SortOrder::Descend => ordering.reverse(),
            }
        });
        let more = kvs.len() > limit;
        kvs.truncate(limit);
        if query.keys_only {
            for kv in &mut kvs {
                kv.value = Bytes::new();
                if query.target != SortTarget::Value {
                    kv.lease = 0;
                }
            }
        }
        Answer { kvs, count, more }
    }
}
