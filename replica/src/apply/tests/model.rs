//! What the applier must do, written down as plainly as possible: a map for each revision.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use bytes::Bytes;
use cairn_index::KeyRange;
use cairn_lease::Term;
use cairn_proto::etcdserverpb::compare::{CompareResult, TargetUnion};
use cairn_proto::etcdserverpb::request_op::Request;
use cairn_proto::etcdserverpb::{
    Compare, DeleteRangeRequest, PutRequest, RangeRequest, RequestOp, TxnRequest,
};
use cairn_proto::mvccpb::KeyValue;
use cairn_proto::stored::response_op::Response;
use cairn_proto::stored::{self, TxnResponse};
use prost::Message;

use super::super::Outcome;
use crate::error::ApplyError;
use crate::lease_request::LeaseRequest;
use crate::log_request::LogRequest;

type Keys = BTreeMap<Bytes, KeyValue>;

/// The state of a member.
#[derive(Clone)]
pub(super) struct Model {
    pub(super) revision: i64,
    compacted: i64,
    /// The keys at each revision.
    history: BTreeMap<i64, Keys>,
    /// Members that have raised the alarms of no space and of corruption.
    alarms: [Vec<u64>; 2],
    /// How many requests were applied.
    applied: u64,
    /// Each lease with the number of the request that granted or renewed it.
    leases: BTreeMap<i64, u64>,
}

/// An answer, short.
type Told = Result<String, ApplyError>;

impl Default for Model {
    fn default() -> Self {
        Self {
            revision: 1,
            // Zero may be compacted once: nothing is below it.
            compacted: -1,
            history: BTreeMap::from([(1, Keys::new())]),
            alarms: [Vec::new(), Vec::new()],
            applied: 0,
            leases: BTreeMap::new(),
        }
    }
}

impl Model {
    /// The keys as they are stored.
    pub(super) fn encoded(&self) -> Vec<Bytes> {
        let keys = &self.history[&self.revision];
        keys.values().map(|kv| kv.encode_to_vec().into()).collect()
    }

    pub(super) fn apply(&mut self, request: &LogRequest) -> Told {
        self.applied += 1;
        let grows = match request {
            LogRequest::Lease(LeaseRequest::Checkpoint { term, .. }) => {
                return self.in_term(*term);
            }
            LogRequest::Lease(LeaseRequest::Renew { term, lease }) => {
                let told = self.in_term(*term)?;
                if let Some(renewal) = self.leases.get_mut(&lease.to_wire()) {
                    *renewal = self.applied;
                }
                return Ok(told);
            }
            LogRequest::Lease(LeaseRequest::Grant(_)) => true,
            LogRequest::Lease(_) => false,
            LogRequest::Put(_) => true,
            LogRequest::Txn(txn) => [&txn.success, &txn.failure].into_iter().any(|it| puts(it)),
            LogRequest::DeleteRange(_) | LogRequest::Compaction(_) => false,
            LogRequest::Alarm(alarm) => {
                return Ok(self.alarm(alarm.action, alarm.member_id, alarm.alarm));
            }
            LogRequest::ClusterVersionSet(_)
            | LogRequest::ClusterMemberAttrSet(_)
            | LogRequest::DowngradeInfoSet(_) => {
                return Ok("done".to_owned());
            }
            LogRequest::Auth(_) => panic!("rules have a model of their own"),
            LogRequest::V2(_) => panic!("the v2 tree has a model of its own"),
        };
        if !self.alarms[1].is_empty() {
            return Err(ApplyError::Corrupt);
        }
        if grows && !self.alarms[0].is_empty() {
            return Err(ApplyError::NoSpace);
        }
        let operation = match request {
            LogRequest::Put(put) => Request::RequestPut(put.clone()),
            LogRequest::DeleteRange(delete) => Request::RequestDeleteRange(delete.clone()),
            LogRequest::Txn(txn) => Request::RequestTxn(txn.clone()),
            LogRequest::Compaction(compaction) => return self.compact(compaction.revision),
            LogRequest::Lease(request) => return self.lease(request),
            _ => panic!("answered above"),
        };
        let mut writing = Writing {
            before: self,
            keys: self.history[&self.revision].clone(),
            changed: false,
        };
        let operation = RequestOp {
            request: Some(operation),
        };
        let chosen = writing.choose(&operation);
        writing.check(&chosen)?;
        let told = writing.write(&chosen);
        if writing.changed {
            let keys = writing.keys;
            self.revision += 1;
            self.history.insert(self.revision, keys);
        }
        Ok(told)
    }

    fn compact(&mut self, revision: i64) -> Told {
        if revision <= self.compacted {
            return Err(ApplyError::Compacted);
        }
        if revision > self.revision {
            return Err(ApplyError::Future);
        }
        self.compacted = revision;
        Ok(format!("compacted {revision}"))
    }

    fn in_term(&self, term: Term) -> Told {
        if term.0 == super::term_of(self.applied) {
            Ok("done".to_owned())
        } else {
            Err(ApplyError::TermEnded)
        }
    }

    fn lease(&mut self, request: &LeaseRequest) -> Told {
        match request {
            LeaseRequest::Grant(grant) if grant.ttl > 9_000_000_000 => {
                Err(ApplyError::LeaseTtlTooLarge)
            }
            LeaseRequest::Grant(grant) if self.leases.contains_key(&grant.id) => {
                Err(ApplyError::LeaseExists)
            }
            LeaseRequest::Grant(grant) => {
                self.leases.insert(grant.id, self.applied);
                Ok(format!("granted {} {}", grant.id, grant.ttl))
            }
            LeaseRequest::Revoke(revoke) => {
                let was_there = self.leases.remove(&revoke.id);
                was_there.ok_or(ApplyError::LeaseNotFound)?;
                self.delete_keys_of(revoke.id);
                Ok(format!("revoked at {}", self.revision))
            }
            LeaseRequest::Expire(expiry) => {
                if expiry.term.0 != super::term_of(self.applied) {
                    return Err(ApplyError::TermEnded);
                }
                for expired in &expiry.leases {
                    let id = expired.id.to_wire();
                    if self.leases.get(&id) == Some(&expired.renewal.0) {
                        self.leases.remove(&id);
                        self.delete_keys_of(id);
                    }
                }
                Ok("done".to_owned())
            }
            LeaseRequest::Checkpoint { .. } | LeaseRequest::Renew { .. } => {
                panic!("answered above")
            }
        }
    }

    fn delete_keys_of(&mut self, lease: i64) {
        let mut keys = self.history[&self.revision].clone();
        let before = keys.len();
        keys.retain(|_, kv| kv.lease != lease);
        if keys.len() < before {
            self.revision += 1;
            self.history.insert(self.revision, keys);
        }
    }

    fn alarm(&mut self, action: i32, member: u64, alarm: i32) -> String {
        let kinds = match alarm {
            0 => 0..2,
            kind => usize::try_from(kind - 1).unwrap()..usize::try_from(kind).unwrap(),
        };
        if action == 0 {
            return format!("{} alarms", self.alarms[kinds].concat().len());
        }
        if alarm == 0 || member == 0 {
            return "0 alarms".to_owned();
        }
        let raised = &mut self.alarms[kinds.start];
        let was_on = raised.contains(&member);
        raised.retain(|it| *it != member);
        if action == 1 {
            raised.push(member);
        }
        format!("{} alarms", i32::from(action == 1 || was_on))
    }
}

fn puts(operations: &[RequestOp]) -> bool {
    operations.iter().any(|operation| match &operation.request {
        Some(Request::RequestPut(_)) => true,
        Some(Request::RequestTxn(txn)) => puts(&txn.success) || puts(&txn.failure),
        _ => false,
    })
}

/// A transaction under way.
struct Writing<'a> {
    before: &'a Model,
    keys: Keys,
    changed: bool,
}

/// An operation with its branches chosen.
enum Chosen<'a> {
    Put(&'a PutRequest),
    Delete(&'a DeleteRangeRequest),
    Range(&'a RangeRequest),
    Txn(bool, Vec<Self>),
}

impl Writing<'_> {
    fn choose<'a>(&self, operation: &'a RequestOp) -> Chosen<'a> {
        match operation.request.as_ref().unwrap() {
            Request::RequestPut(put) => Chosen::Put(put),
            Request::RequestDeleteRange(delete) => Chosen::Delete(delete),
            Request::RequestRange(range) => Chosen::Range(range),
            Request::RequestTxn(txn) => {
                let succeeded = txn.compare.iter().all(|compare| self.holds(compare));
                let TxnRequest {
                    success, failure, ..
                } = txn;
                let branch = if succeeded { success } else { failure };
                Chosen::Txn(succeeded, branch.iter().map(|it| self.choose(it)).collect())
            }
        }
    }

    fn holds(&self, compare: &Compare) -> bool {
        let found = matching(&self.keys, &compare.key, &compare.range_end);
        let missing = KeyValue::default();
        let is_value = matches!(compare.target_union, Some(TargetUnion::Value(_)));
        if found.is_empty() {
            return !is_value && meets(compare, &missing);
        }
        found.iter().all(|kv| meets(compare, kv))
    }

    fn check(&self, chosen: &Chosen<'_>) -> Result<(), ApplyError> {
        match chosen {
            Chosen::Put(put) if put.lease != 0 && !self.before.leases.contains_key(&put.lease) => {
                Err(ApplyError::LeaseNotFound)
            }
            Chosen::Put(put) => {
                let must_exist = put.ignore_value || put.ignore_lease;
                if must_exist && !self.keys.contains_key(&put.key) {
                    return Err(ApplyError::KeyNotFound);
                }
                Ok(())
            }
            Chosen::Delete(_) => Ok(()),
            Chosen::Range(range) if range.revision == 0 => Ok(()),
            Chosen::Range(range) if range.revision > self.before.revision => {
                Err(ApplyError::Future)
            }
            Chosen::Range(range) if range.revision < self.before.compacted => {
                Err(ApplyError::Compacted)
            }
            Chosen::Range(_) => Ok(()),
            Chosen::Txn(_, steps) => steps.iter().try_for_each(|step| self.check(step)),
        }
    }

    fn write(&mut self, chosen: &Chosen<'_>) -> String {
        match chosen {
            Chosen::Put(put) => self.put(put),
            Chosen::Delete(delete) => {
                let found = matching(&self.keys, &delete.key, &delete.range_end);
                self.changed |= !found.is_empty();
                for kv in &found {
                    self.keys.remove(&kv.key);
                }
                let previous = if delete.prev_kv { found.len() } else { 0 };
                format!("deleted {} {previous}", found.len())
            }
            Chosen::Range(range) => {
                let keys = match range.revision {
                    ..=0 => &self.keys,
                    revision => &self.before.history[&revision],
                };
                let found = matching(keys, &range.key, &range.range_end);
                format!(
                    "range {:?}",
                    found.iter().map(Message::encode_to_vec).collect::<Vec<_>>()
                )
            }
            Chosen::Txn(succeeded, steps) => {
                let told: Vec<_> = steps.iter().map(|step| self.write(step)).collect();
                format!("txn {succeeded} {told:?}")
            }
        }
    }

    fn put(&mut self, put: &PutRequest) -> String {
        let revision = self.before.revision + 1;
        let previous = self.keys.get(&put.key).cloned();
        let value = match &previous {
            Some(previous) if put.ignore_value => previous.value.clone(),
            _ => put.value.clone(),
        };
        let kv = KeyValue {
            key: put.key.clone(),
            create_revision: previous.as_ref().map_or(revision, |it| it.create_revision),
            mod_revision: revision,
            version: previous.as_ref().map_or(0, |it| it.version) + 1,
            value,
            lease: match &previous {
                Some(previous) if put.ignore_lease => previous.lease,
                _ => put.lease,
            },
        };
        self.keys.insert(put.key.clone(), kv);
        self.changed = true;
        let previous = previous.filter(|_| put.prev_kv);
        format!("put {:?}", previous.map(|it| it.encode_to_vec()))
    }
}

fn matching(keys: &Keys, key: &Bytes, end: &Bytes) -> Vec<KeyValue> {
    let range = KeyRange::from_wire(key.clone(), end.clone());
    let found = keys.iter().filter(|(key, _)| range.contains(key));
    found.map(|(_, kv)| kv.clone()).collect()
}

fn meets(compare: &Compare, kv: &KeyValue) -> bool {
    let order = match compare.target_union.as_ref().unwrap() {
        TargetUnion::Version(operand) => kv.version.cmp(operand),
        TargetUnion::CreateRevision(operand) => kv.create_revision.cmp(operand),
        TargetUnion::ModRevision(operand) => kv.mod_revision.cmp(operand),
        TargetUnion::Value(operand) => kv.value.cmp(operand),
        TargetUnion::Lease(operand) => kv.lease.cmp(operand),
    };
    match CompareResult::try_from(compare.result).unwrap() {
        CompareResult::Equal => order == Ordering::Equal,
        CompareResult::Greater => order == Ordering::Greater,
        CompareResult::Less => order == Ordering::Less,
        CompareResult::NotEqual => order != Ordering::Equal,
    }
}

/// The applier's answer in the model's words.
pub(super) fn told(reply: &Result<Outcome, ApplyError>) -> Told {
    Ok(match reply.as_ref().map_err(Clone::clone)? {
        Outcome::Put(put) => told_put(put),
        Outcome::DeleteRange(delete) => told_delete(delete),
        Outcome::Txn(txn) => told_txn(txn),
        Outcome::LeaseGrant(grant) => format!("granted {} {}", grant.id, grant.ttl),
        Outcome::LeaseRevoke(revoke) => {
            format!("revoked at {}", revoke.header.unwrap().revision)
        }
        Outcome::Compaction(point) => format!("compacted {}", point.to_wire()),
        Outcome::Alarm(alarms) => format!("{} alarms", alarms.len()),
        Outcome::Members(members) => format!("{} members", members.len()),
        Outcome::Auth(told) => format!("{told:?}"),
        Outcome::V2(told) => format!("{told:?}"),
        Outcome::Done => "done".to_owned(),
    })
}

fn told_put(put: &stored::PutResponse) -> String {
    format!("put {:?}", put.prev_kv.as_ref().map(|kv| kv.0.to_vec()))
}

fn told_delete(delete: &stored::DeleteRangeResponse) -> String {
    format!("deleted {} {}", delete.deleted, delete.prev_kvs.len())
}

fn told_txn(txn: &TxnResponse) -> String {
    let told = |response: &stored::ResponseOp| match response.response.as_ref().unwrap() {
        Response::ResponsePut(put) => told_put(put),
        Response::ResponseDeleteRange(delete) => told_delete(delete),
        Response::ResponseTxn(txn) => told_txn(txn),
        Response::ResponseRange(range) => {
            let kvs = cairn_proto::etcdserverpb::RangeResponse::decode(&*range.encode_to_vec());
            let kvs = kvs.unwrap().kvs;
            format!(
                "range {:?}",
                kvs.iter().map(Message::encode_to_vec).collect::<Vec<_>>()
            )
        }
    };
    let steps: Vec<_> = txn.responses.iter().map(told).collect();
    format!("txn {} {steps:?}", txn.succeeded)
}
