//! A store as simple as can be: a map for every revision. It shares nothing with the model that the
//! checks use but the requests and answers.

use std::collections::BTreeMap;

use cairn_history::{
    Compare, Comparison, Data, DeleteResponse, Event, EventKind, KeyRange, KeyValue, LeaseId,
    Operand, PutRequest, RangeRequest, RangeResponse, Request, Response, Revision, TxnOp,
    TxnOpResponse, TxnRequest, TxnResponse,
};

type Keys = BTreeMap<Data, KeyValue>;

/// Its states and changes by revision, from 1 on.
pub(crate) struct NaiveStore {
    states: Vec<Keys>,
    changes: Vec<Vec<Event>>,
    /// History below is gone.
    pub(crate) compacted: Revision,
    /// Leases that live.
    pub(crate) leases: Vec<LeaseId>,
}

impl NaiveStore {
    pub(crate) fn new() -> Self {
        Self {
            states: vec![Keys::new()],
            changes: vec![Vec::new()],
            compacted: Revision(0),
            leases: Vec::new(),
        }
    }

    pub(crate) fn revision(&self) -> Revision {
        Revision(i64::try_from(self.states.len()).unwrap())
    }

    fn place(revision: Revision) -> usize {
        usize::try_from(revision.0 - 1).unwrap()
    }

    pub(crate) fn changes(&self, revision: Revision) -> &[Event] {
        &self.changes[Self::place(revision)]
    }

    /// Reads the state of a revision.
    pub(crate) fn read(&self, at: Revision, request: &RangeRequest) -> RangeResponse {
        let at = request.revision.unwrap_or(at);
        let state = &self.states[Self::place(at)];
        range(state, request)
    }

    /// Does a request, as the log would; absent if it is refused.
    pub(crate) fn apply(&mut self, request: &Request) -> Option<Response> {
        let mut keys = self.states.last().unwrap().clone();
        let mut changes = Vec::new();
        let revision = Revision(self.revision().0 + 1);
        let response = match request {
            Request::Put(request) => {
                self.check_lease(request)?;
                let prev = put(&mut keys, &mut changes, revision, request);
                Response::Put(prev.filter(|_| request.prev_kv))
            }
            Request::DeleteRange(request) => {
                let found = delete(&mut keys, &mut changes, revision, &request.range);
                Response::DeleteRange(deleted(found, request.prev_kv))
            }
            Request::Txn(request) => {
                for op in request.success.iter().chain(&request.failure) {
                    if let TxnOp::Put(put) = op {
                        self.check_lease(put)?;
                    }
                }
                Response::Txn(txn(&mut keys, &mut changes, revision, request))
            }
            Request::Range(request) => Response::Range(range(&keys, request)),
            Request::LeaseGrant { id, ttl_secs } => {
                let id = id.unwrap();
                if self.leases.contains(&id) {
                    return None;
                }
                self.leases.push(id);
                Response::LeaseGrant {
                    id,
                    ttl_secs: *ttl_secs,
                }
            }
            Request::LeaseRevoke(lease) => {
                let at = self.leases.iter().position(|it| it == lease)?;
                self.leases.swap_remove(at);
                let attached: Vec<Data> = keys
                    .values()
                    .filter(|kv| kv.lease == Some(*lease))
                    .map(|kv| kv.key.clone())
                    .collect();
                for key in attached {
                    delete(&mut keys, &mut changes, revision, &KeyRange::One(key));
                }
                Response::Done
            }
            Request::Compact(at) => {
                if *at <= self.compacted || *at > self.revision() {
                    return None;
                }
                self.compacted = *at;
                Response::Done
            }
            other => panic!("the store does not know {other}"),
        };
        if !changes.is_empty() {
            self.states.push(keys);
            self.changes.push(changes);
        }
        Some(response)
    }

    fn check_lease(&self, put: &PutRequest) -> Option<()> {
        put.lease
            .is_none_or(|lease| self.leases.contains(&lease))
            .then_some(())
    }
}

fn range(keys: &Keys, request: &RangeRequest) -> RangeResponse {
    let mut kvs: Vec<KeyValue> = keys
        .values()
        .filter(|kv| request.range.contains(&kv.key))
        .cloned()
        .collect();
    let count = i64::try_from(kvs.len()).unwrap();
    let limit = request.limit.unwrap_or(usize::MAX);
    let more = kvs.len() > limit;
    kvs.truncate(limit);
    if request.count_only {
        return RangeResponse {
            kvs: Vec::new(),
            more: false,
            count,
        };
    }
    RangeResponse { kvs, more, count }
}

fn put(
    keys: &mut Keys,
    changes: &mut Vec<Event>,
    revision: Revision,
    put: &PutRequest,
) -> Option<KeyValue> {
    let prev = keys.get(&put.key).cloned();
    let kv = KeyValue {
        key: put.key.clone(),
        value: put.value.clone(),
        create_revision: prev.as_ref().map_or(revision, |prev| prev.create_revision),
        mod_revision: revision,
        version: prev.as_ref().map_or(0, |prev| prev.version) + 1,
        lease: put.lease,
    };
    keys.insert(put.key.clone(), kv.clone());
    changes.push(Event {
        kind: EventKind::Put,
        kv,
        prev_kv: prev.clone(),
    });
    prev
}

fn delete(
    keys: &mut Keys,
    changes: &mut Vec<Event>,
    revision: Revision,
    range: &KeyRange,
) -> Vec<KeyValue> {
    let found: Vec<KeyValue> = keys
        .values()
        .filter(|kv| range.contains(&kv.key))
        .cloned()
        .collect();
    for kv in &found {
        keys.remove(&kv.key);
        changes.push(Event {
            kind: EventKind::Delete,
            kv: KeyValue {
                key: kv.key.clone(),
                mod_revision: revision,
                ..KeyValue::default()
            },
            prev_kv: Some(kv.clone()),
        });
    }
    found
}

fn deleted(found: Vec<KeyValue>, prev_kv: bool) -> DeleteResponse {
    DeleteResponse {
        deleted: i64::try_from(found.len()).unwrap(),
        prev_kvs: if prev_kv { found } else { Vec::new() },
    }
}

fn txn(
    keys: &mut Keys,
    changes: &mut Vec<Event>,
    revision: Revision,
    request: &TxnRequest,
) -> TxnResponse {
    let succeeded = request.compares.iter().all(|it| holds(keys, it));
    let ops = if succeeded {
        &request.success
    } else {
        &request.failure
    };
    let mut responses = Vec::new();
    for op in ops {
        responses.push(match op {
            TxnOp::Range(request) => TxnOpResponse::Range(range(keys, request)),
            TxnOp::Put(request) => {
                let prev = put(keys, changes, revision, request);
                TxnOpResponse::Put(prev.filter(|_| request.prev_kv))
            }
            TxnOp::DeleteRange(request) => {
                let found = delete(keys, changes, revision, &request.range);
                TxnOpResponse::DeleteRange(deleted(found, request.prev_kv))
            }
            TxnOp::Txn(request) => TxnOpResponse::Txn(txn(keys, changes, revision, request)),
        });
    }
    TxnResponse {
        succeeded,
        responses,
    }
}

/// The two kinds of conditions that the tests use.
fn holds(keys: &Keys, compare: &Compare) -> bool {
    assert_eq!(compare.is, Comparison::Equal);
    let KeyRange::One(key) = &compare.range else {
        panic!("a condition on a range");
    };
    let kv = keys.get(key);
    match &compare.operand {
        Operand::Mod(revision) => kv.map_or(0, |kv| kv.mod_revision.0) == *revision,
        Operand::Value(value) => kv.is_some_and(|kv| kv.value == *value),
        other => panic!("a condition on {other:?}"),
    }
}
