//! A member's API: what becomes of a client's request before the log and after it.
//!
//! It does what the server's handlers do, with the same functions, without gRPC.

use bytes::Bytes;
use cairn_auth::AuthError;
use cairn_history::{
    Answer, DeleteResponse, HashKv, LeaseId, Outcome, RangeResponse, Refusal, Request, Response,
    Revision, Term, Time, TxnResponse,
};
use cairn_mvcc::{ReadAt, ReadError, Store};
use cairn_proto::etcdserverpb as pb;
use cairn_proto::stored::EncodedKvsBuilder;
use cairn_replica::apply::permission::Permission;
use cairn_replica::apply::{self, SnapshotReader, txn};
use cairn_replica::error::ApplyError;
use cairn_replica::lease_request::LeaseRequest;
use cairn_replica::log_request::LogRequest;
use cairn_replica::membership::MemberChange;
use cairn_replica::request::{DeleteRange, Put, Range, RequestError, Txn};
use prost::Message;

/// The shortest time to live that is granted: one and a half elections, in whole seconds.
const TTL_MIN_SECS: i64 = 2;

/// Operations that a transaction may have.
const TXN_OPERATIONS_MAX: usize = 128;

/// What a request needs before it is answered.
pub(crate) enum Way {
    /// To go through the log, as a change of the members.
    Members(MemberChange),
    /// To go through the log.
    Log(Box<LogRequest>),
    /// To be put to the leader.
    Leader,
    /// To be read when the log says how far.
    Linearizable,
    /// To be read at once.
    Serializable,
}

/// A read that was parsed.
pub(crate) enum Read {
    Range(Range),
    Txn(Txn),
}

/// Says what a request needs, or why it is refused. Reads need a permission here, writes when they
/// are applied.
pub(crate) fn way(request: &Request, permission: Permission<'_>) -> Result<Way, Refusal> {
    let log = |request| Ok(Way::Log(Box::new(request)));
    match request {
        Request::Put(put) => {
            let put = pb::PutRequest::from(put);
            Put::parse(put.clone()).map_err(refused)?;
            log(LogRequest::Put(put))
        }
        Request::DeleteRange(delete) => {
            let delete = pb::DeleteRangeRequest::from(delete);
            DeleteRange::parse(delete.clone()).map_err(refused)?;
            log(LogRequest::DeleteRange(delete))
        }
        Request::Txn(txn) => {
            let wire = pb::TxnRequest::from(txn);
            let parsed = Txn::parse(wire.clone(), TXN_OPERATIONS_MAX).map_err(refused)?;
            if !parsed.is_read_only() {
                return log(LogRequest::Txn(wire));
            }
            permission.txn(&parsed, &|_| Vec::new()).map_err(denied)?;
            Ok(read_way(parsed.is_serializable()))
        }
        Request::Range(range) => {
            let range = Range::parse(range.into()).map_err(refused)?;
            permission.read(&range.query.range).map_err(denied)?;
            Ok(read_way(range.serializable))
        }
        Request::Compact(revision) => log(LogRequest::Compaction(pb::CompactionRequest {
            revision: revision.0,
            physical: false,
        })),
        Request::LeaseGrant { id, ttl_secs } => {
            let grant = pb::LeaseGrantRequest {
                id: id.map_or(0, |id| id.0),
                ttl: (*ttl_secs).max(TTL_MIN_SECS),
            };
            log(LogRequest::Lease(LeaseRequest::Grant(grant)))
        }
        Request::LeaseRevoke(id) => {
            let revoke = pb::LeaseRevokeRequest { id: id.0 };
            log(LogRequest::Lease(LeaseRequest::Revoke(revoke)))
        }
        Request::LeaseKeepAlive(_) | Request::LeaseTimeToLive { .. } => Ok(Way::Leader),
        Request::HashKv(_) => Ok(Way::Serializable),
        _ => Err(Refusal::Other(
            "the simulator has no such request".to_owned(),
        )),
    }
}

/// Reads from a member's store.
pub(crate) fn read(store: &Store, request: &Request, at: Time, term: Term) -> Outcome {
    if let Request::HashKv(revision) = request {
        return hash(store, *revision, at);
    }
    let answer = match parse_read(request) {
        Ok(Read::Range(range)) => read_range(store, &range),
        Ok(Read::Txn(txn)) => read_txn(store, &txn),
        Err(why) => return Outcome::Refused { at, why },
    };
    match answer {
        Ok((revision, body)) => Outcome::Ok(Answer {
            at,
            revision,
            term: Some(term),
            body,
        }),
        Err(error) => failed_read(at, &error),
    }
}

fn hash(store: &Store, revision: Option<Revision>, at: Time) -> Outcome {
    let wanted = revision.and_then(|it| cairn_mvcc::Revision::from_wire(it.0).ok());
    let wanted = wanted.map_or(ReadAt::Latest, ReadAt::Revision);
    match store.hash_kv(wanted) {
        Ok(hash) => Outcome::Ok(Answer {
            at,
            revision: Some(Revision(hash.current.to_wire())),
            term: None,
            body: Response::HashKv(HashKv {
                hash: hash.hash,
                hash_revision: Some(Revision(hash.revision.to_wire())),
                compact_revision: hash.compacted.map(|it| Revision(it.to_wire())),
            }),
        }),
        Err(error) => failed_read(at, &error.into()),
    }
}

/// The answer to a request that went through the log.
pub(crate) fn answer(
    done: Result<apply::Outcome, ApplyError>,
    store: &Store,
    at: Time,
    term: Term,
) -> Outcome {
    let outcome = match done {
        Ok(outcome) => outcome,
        Err(error) => {
            return Outcome::Refused {
                at,
                why: why(&error),
            };
        }
    };
    let (revision, body) = match outcome {
        apply::Outcome::Put(response) => {
            let wire: pb::PutResponse = over_the_wire(&response);
            (revision_of(wire.header), Response::from(&wire))
        }
        apply::Outcome::DeleteRange(response) => {
            let wire: pb::DeleteRangeResponse = over_the_wire(&response);
            let body = Response::DeleteRange(DeleteResponse::from(&wire));
            (revision_of(wire.header), body)
        }
        apply::Outcome::Txn(response) => {
            let wire: pb::TxnResponse = over_the_wire(&response);
            (
                revision_of(wire.header),
                Response::Txn(TxnResponse::from(&wire)),
            )
        }
        apply::Outcome::Compaction(_) => {
            let current = store.current().to_wire();
            (Some(Revision(current)), Response::Done)
        }
        apply::Outcome::LeaseGrant(granted) => {
            let body = Response::LeaseGrant {
                id: LeaseId(granted.id),
                ttl_secs: granted.ttl,
            };
            (revision_of(granted.header), body)
        }
        apply::Outcome::LeaseRevoke(revoked) => (revision_of(revoked.header), Response::Done),
        apply::Outcome::Alarm(_)
        | apply::Outcome::Members(_)
        | apply::Outcome::Auth(_)
        | apply::Outcome::V2(_)
        | apply::Outcome::Done => (None, Response::Done),
    };
    Outcome::Ok(Answer {
        at,
        revision,
        term: Some(term),
        body,
    })
}

fn parse_read(request: &Request) -> Result<Read, Refusal> {
    match request {
        Request::Range(range) => Range::parse(range.into()).map(Read::Range),
        Request::Txn(txn) => Txn::parse(txn.into(), TXN_OPERATIONS_MAX).map(Read::Txn),
        _ => return Err(Refusal::Other("not a read".to_owned())),
    }
    .map_err(refused)
}

fn read_range(
    store: &Store,
    range: &Range,
) -> Result<(Option<Revision>, Response), apply::Failure> {
    let mut kvs = EncodedKvsBuilder::new();
    let summary = store.range(&range.query, &mut |kv| kvs.push(kv.encoded))?;
    let response = txn::range_response(&summary, kvs.finish());
    let wire: pb::RangeResponse = over_the_wire(&response);
    let body = Response::Range(RangeResponse::from(&wire));
    Ok((revision_of(wire.header), body))
}

fn read_txn(store: &Store, txn: &Txn) -> Result<(Option<Revision>, Response), apply::Failure> {
    let state = SnapshotReader::new(store);
    let chosen = txn::choose(txn, &state)?;
    chosen.check(&state, &|_| true)?;
    let wire: pb::TxnResponse = over_the_wire(&chosen.read(&state)?);
    let body = Response::Txn(TxnResponse::from(&wire));
    Ok((revision_of(wire.header), body))
}

/// What a client decodes of what a member encodes. Bytes that do not decode are an empty answer,
/// which no check lets pass.
fn over_the_wire<T: Message + Default>(response: &impl Message) -> T {
    T::decode(Bytes::from(response.encode_to_vec())).unwrap_or_default()
}

fn revision_of(header: Option<pb::ResponseHeader>) -> Option<Revision> {
    header.map(|header| Revision(header.revision))
}

const fn read_way(serializable: bool) -> Way {
    if serializable {
        Way::Serializable
    } else {
        Way::Linearizable
    }
}

fn denied(error: AuthError) -> Refusal {
    Refusal::Other(error.to_string())
}

fn refused(error: RequestError) -> Refusal {
    Refusal::Other(error.to_string())
}

fn failed_read(at: Time, error: &apply::Failure) -> Outcome {
    let why = match error {
        apply::Failure::Refused(error) => why(error),
        apply::Failure::Fatal(apply::FatalError::Read(ReadError::Compacted { .. })) => {
            Refusal::Compacted
        }
        apply::Failure::Fatal(apply::FatalError::Read(ReadError::Future { .. })) => {
            Refusal::FutureRevision
        }
        apply::Failure::Fatal(error) => Refusal::Other(error.to_string()),
    };
    Outcome::Refused { at, why }
}

fn why(error: &ApplyError) -> Refusal {
    match error {
        ApplyError::KeyNotFound => Refusal::KeyNotFound,
        ApplyError::LeaseExists => Refusal::LeaseExists,
        ApplyError::LeaseNotFound => Refusal::LeaseNotFound,
        ApplyError::Compacted => Refusal::Compacted,
        ApplyError::Future => Refusal::FutureRevision,
        other => Refusal::Other(other.to_string()),
    }
}
