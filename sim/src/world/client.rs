//! What a client knows: what it saw of keys, its lease, and the locks that it holds as far as it knows.

use std::collections::{BTreeMap, VecDeque};

use cairn_auth::AuthRequest;
use cairn_history::{
    Answer, ClientId, Compare, Comparison, DeleteRequest, KeyRange, LeaseId, MemberId, Operand,
    Outcome, PutRequest, RangeRequest, Refusal, Request, Response, Revision, TxnOp, TxnOpResponse,
    TxnRequest,
};

use crate::rules;
use crate::schedule::{Ask, Change, OfLease};

/// What a request is for.
#[derive(Clone, Debug, Default)]
pub(super) struct About {
    /// As which user it is made.
    pub(super) user: Option<String>,
    pub(super) what: What,
}

#[derive(Clone, Debug, Default)]
pub(super) enum What {
    #[default]
    Data,
    /// A change of the members.
    Members(Change),
    /// A change of users and roles.
    Rules(AuthRequest),
    /// A lock is taken.
    Lock(String),
    /// Something is done behind a lock, or it is given back.
    Behind(String),
}

/// A client.
pub(super) struct Client {
    id: ClientId,
    pub(super) asks: VecDeque<(Option<String>, Ask)>,
    pub(super) busy: bool,
    pub(super) member: MemberId,
    /// The revision of each key that it saw last.
    seen: BTreeMap<String, i64>,
    /// Leases that it made.
    leases: i64,
    /// The last of them, if it may be there still.
    lease: Option<LeaseId>,
    /// The locks that it holds as far as it knows, each with the revision that made it the holder.
    locks: BTreeMap<String, i64>,
}

impl Client {
    pub(super) fn new(id: ClientId, members: u64) -> Self {
        Self {
            id,
            asks: VecDeque::new(),
            busy: false,
            member: MemberId(1 + u64::from(id.0) % members),
            seen: BTreeMap::new(),
            leases: 0,
            lease: None,
            locks: BTreeMap::new(),
        }
    }

    fn grant(&mut self, ttl_secs: i64) -> Request {
        self.leases += 1;
        let id = LeaseId(i64::from(self.id.0 + 1) * 1000 + self.leases);
        self.lease = Some(id);
        self.locks.clear();
        let id = Some(id);
        Request::LeaseGrant { id, ttl_secs }
    }

    fn of_lease(&mut self, of: OfLease, ttl_secs: i64) -> Request {
        let Some(lease) = self.lease else {
            return self.grant(ttl_secs);
        };
        match of {
            OfLease::KeepAlive => Request::LeaseKeepAlive(lease),
            OfLease::TimeToLive => Request::LeaseTimeToLive {
                id: lease,
                keys: true,
            },
            OfLease::Revoke => {
                self.lease = None;
                self.locks.clear();
                Request::LeaseRevoke(lease)
            }
            OfLease::Put { key, value } => {
                let mut put = PutRequest::new(key, value);
                put.lease = Some(lease);
                Request::Put(put)
            }
        }
    }

    fn lock(&mut self, name: String, ttl_secs: i64) -> Request {
        let Some(lease) = self.lease else {
            return self.grant(ttl_secs);
        };
        let range = KeyRange::One(name.as_str().into());
        let mut put = PutRequest::new(name, self.id.to_string());
        put.lease = Some(lease);
        Request::Txn(TxnRequest {
            compares: vec![created(&range, 0)],
            success: vec![TxnOp::Put(put)],
            failure: vec![TxnOp::Range(RangeRequest::new(range))],
        })
    }

    /// Does something if the client still holds the lock, whose token it is given.
    fn behind(&self, name: &str, then: impl FnOnce(i64) -> TxnOp) -> Request {
        let range = KeyRange::One(name.into());
        let Some(token) = self.locks.get(name) else {
            return Request::range(range);
        };
        Request::Txn(TxnRequest {
            compares: vec![created(&range, *token)],
            success: vec![then(*token)],
            failure: vec![TxnOp::Range(RangeRequest::new(range))],
        })
    }

    /// Forgets a lease that is not there, as far as it is told.
    pub(super) fn note_lease(&mut self, request: &Request, outcome: &Outcome) {
        let gone = match (request, outcome) {
            (Request::LeaseGrant { .. }, Outcome::Refused { .. })
            | (
                _,
                Outcome::Refused {
                    why: Refusal::LeaseNotFound,
                    ..
                },
            ) => true,
            (_, Outcome::Ok(answer)) => answer.body == Response::LeaseKeepAlive(0),
            _ => false,
        };
        if gone {
            self.lease = None;
            self.locks.clear();
        }
    }

    /// Remembers whether it holds a lock.
    pub(super) fn note_lock(&mut self, what: &What, outcome: &Outcome) {
        let Outcome::Ok(answer) = outcome else { return };
        let Response::Txn(done) = &answer.body else {
            return;
        };
        match what {
            What::Lock(name) if done.succeeded => {
                let token = answer.revision.map_or(0, |revision| revision.0);
                self.locks.insert(name.clone(), token);
            }
            What::Behind(name) => {
                let gave_back = done
                    .responses
                    .iter()
                    .any(|it| matches!(it, TxnOpResponse::DeleteRange(_)));
                if !done.succeeded || gave_back {
                    self.locks.remove(name);
                }
            }
            _ => {}
        }
    }

    /// Remembers the revision of a key that an answer shows.
    pub(super) fn note(&mut self, request: &Request, answer: &Answer) {
        let revision = answer.revision.map_or(0, |revision| revision.0);
        let mut note = |key: &cairn_history::Data, revision: i64| {
            self.seen.insert(key.to_string(), revision);
        };
        match (request, &answer.body) {
            (Request::Put(put), _) => note(&put.key, revision),
            (_, Response::Range(range)) => {
                for kv in &range.kvs {
                    note(&kv.key, kv.mod_revision.0);
                }
            }
            (Request::Txn(txn), Response::Txn(done)) => {
                let ops = if done.succeeded {
                    &txn.success
                } else {
                    &txn.failure
                };
                for (op, response) in ops.iter().zip(&done.responses) {
                    match (op, response) {
                        (TxnOp::Put(put), _) => note(&put.key, revision),
                        (_, TxnOpResponse::Range(range)) => {
                            for kv in &range.kvs {
                                note(&kv.key, kv.mod_revision.0);
                            }
                        }
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
}

/// What a request is for, beside what the history tells of it.
pub(super) fn what(ask: &Ask) -> What {
    match ask {
        Ask::Members(change) => What::Members(*change),
        Ask::Rules(change) => What::Rules(rules::request(change)),
        Ask::Lock { name, .. } => What::Lock(name.clone()),
        Ask::Fenced { name, .. } | Ask::Unlock { name } => What::Behind(name.clone()),
        _ => What::Data,
    }
}

/// What a client asks, now that it is its turn.
pub(super) fn request(ask: Ask, client: &mut Client, newest: i64) -> Request {
    let back = |by: i64| Revision((newest - by).max(1));
    match ask {
        Ask::Plain(request) => request,
        Ask::Swap { key, value } => {
            let seen = client.seen.get(&key).copied().unwrap_or(0);
            let range = KeyRange::One(key.as_str().into());
            Request::Txn(TxnRequest {
                compares: vec![Compare {
                    range: range.clone(),
                    is: Comparison::Equal,
                    operand: Operand::Mod(seen),
                }],
                success: vec![TxnOp::Put(PutRequest::new(key, value))],
                failure: vec![TxnOp::Range(RangeRequest::new(range))],
            })
        }
        Ask::ReadBack { range, by } => {
            let mut read = RangeRequest::new(range);
            read.revision = Some(back(by));
            Request::Range(read)
        }
        Ask::WriteAndReadBack {
            key,
            value,
            range,
            by,
        } => {
            let mut read = RangeRequest::new(range);
            read.revision = Some(back(by));
            Request::Txn(TxnRequest {
                compares: Vec::new(),
                success: vec![TxnOp::Put(PutRequest::new(key, value)), TxnOp::Range(read)],
                failure: Vec::new(),
            })
        }
        Ask::Members(change) => Request::Other(format!("{change:?}")),
        Ask::Rules(change) => Request::Other(format!("{change:?}")),
        Ask::Hashes { by } => Request::HashKv(Some(back(by))),
        Ask::Grant { ttl_secs } => client.grant(ttl_secs),
        Ask::Lease { of, ttl_secs } => client.of_lease(of, ttl_secs),
        Ask::Lock { name, ttl_secs } => client.lock(name, ttl_secs),
        Ask::Fenced { name, key } => client.behind(&name, |token| {
            TxnOp::Put(PutRequest::new(key.as_str(), token.to_string()))
        }),
        Ask::Unlock { name } => client.behind(&name, |_| {
            TxnOp::DeleteRange(DeleteRequest::new(KeyRange::One(name.as_str().into())))
        }),
        Ask::Compact { keep } => Request::Compact(back(keep)),
        // These are asked in another way.
        Ask::V2(ask) => Request::Other(format!("{ask:?}")),
    }
}

fn created(range: &KeyRange, revision: i64) -> Compare {
    Compare {
        range: range.clone(),
        is: Comparison::Equal,
        operand: Operand::Create(revision),
    }
}
