//! Queues of keys: what locks and elections by name stand on.
//!
//! Who wants a lock, or to lead, writes a key of its own under the name, attached to its lease. The
//! key that was created first is in front: it holds the lock, or leads. Everybody else waits for the
//! keys before its own to go. This is the scheme of etcd's clients, so that callers of these services
//! and clients that queue by themselves stand in one line.
//!
//! Being in front is true when it is read and may not be when the answer arrives: a lease may have
//! ended meanwhile. Who must be sure guards each of its writes with the create revision of its key,
//! which only grows from holder to holder.

use std::sync::Arc;

use bytes::Bytes;
use cairn_index::{KeyRange, Revision};
use cairn_proto::etcdserverpb::compare::{CompareResult, CompareTarget, TargetUnion};
use cairn_proto::etcdserverpb::range_request::{SortOrder, SortTarget};
use cairn_proto::etcdserverpb::request_op::Request as OpRequest;
use cairn_proto::etcdserverpb::{
    self, Compare, DeleteRangeRequest, LeaseGrantRequest, PutRequest, RangeRequest, RequestOp,
    ResponseHeader, TxnRequest,
};
use cairn_proto::mvccpb::KeyValue;
use cairn_proto::stored::response_op::Response as OpResponse;
use cairn_proto::stored::{ResponseOp, TxnResponse};
use cairn_watch::{Filters, ReplyKind, WatchRequest, WatchStart};
use prost::Message;
use tonic::{Code, Status};

use super::kv::KvService;
use crate::member::Member;
use crate::member::auth::Caller;
use cairn_replica::apply::Outcome;
use cairn_replica::lease_request::LeaseRequest;

/// The time to live of a lease that the server grants for a caller without one; etcd's number.
const SESSION_TTL_SECS: i64 = 60;

/// Somebody who queues: a caller and its lease.
#[derive(Clone)]
pub(super) struct Session {
    member: Arc<Member>,
    kv: KvService,
    caller: Caller,
    lease: i64,
}

/// A place in a queue: a key that was created at a revision.
#[derive(Clone)]
pub(super) struct Place {
    session: Session,
    prefix: Bytes,
    /// The key.
    pub(super) key: Bytes,
    /// The revision that created it.
    pub(super) rev: i64,
}

/// What joining a queue found.
pub(super) struct Joined {
    /// The caller's place.
    pub(super) place: Place,
    /// The caller's key as it was before, if the same lease was in the queue already.
    pub(super) before: Option<KeyValue>,
    /// The key in front.
    pub(super) front: Option<KeyValue>,
    /// The header of the answer.
    pub(super) header: Option<ResponseHeader>,
}

/// Why waiting ended without the front.
pub(super) enum Waited {
    /// All keys before the caller's are gone, and the caller's own is there.
    InFront(Option<ResponseHeader>),
    /// The caller's own key is gone: its lease has ended.
    Lost,
}

impl Session {
    /// The session of a caller with a lease. Without one it gets a lease of its own, which nobody keeps
    /// alive.
    ///
    /// # Errors
    ///
    /// What granting the lease says.
    pub(super) async fn open(
        member: &Arc<Member>,
        caller: Caller,
        lease: i64,
    ) -> Result<Self, Status> {
        let mut session = Self::of(member, caller, lease);
        if lease == 0 {
            session.lease = session.grant().await.map_err(as_unknown)?;
        }
        Ok(session)
    }

    /// A session with a lease, or to look only.
    pub(super) fn of(member: &Arc<Member>, caller: Caller, lease: i64) -> Self {
        Self {
            member: Arc::clone(member),
            kv: KvService::new(Arc::clone(member)),
            caller,
            lease,
        }
    }

    async fn grant(&self) -> Result<i64, Status> {
        let grant = self.member.complete_grant(LeaseGrantRequest {
            ttl: SESSION_TTL_SECS,
            id: 0,
        })?;
        let grant = LeaseRequest::Grant(grant);
        match self.member.propose_lease(grant, &self.caller).await? {
            Outcome::LeaseGrant(granted) => Ok(granted.id),
            _ => Err(super::kv::mismatch()),
        }
    }

    /// The lease.
    pub(super) const fn lease(&self) -> i64 {
        self.lease
    }

    /// Joins the queue of `name` with a value, unless the lease is in it already.
    ///
    /// # Errors
    ///
    /// What the transaction says.
    pub(super) async fn join(&self, name: &[u8], value: Bytes) -> Result<Joined, Status> {
        let prefix = prefix(name);
        let key = key(&prefix, self.lease);
        let front = op(OpRequest::RequestRange(front(&prefix)));
        let own = op(OpRequest::RequestRange(RangeRequest {
            key: key.clone(),
            ..RangeRequest::default()
        }));
        let put = op(OpRequest::RequestPut(PutRequest {
            key: key.clone(),
            value,
            lease: self.lease,
            ..PutRequest::default()
        }));
        let txn = TxnRequest {
            compare: vec![created_at(&key, 0)],
            success: vec![put, front.clone()],
            failure: vec![own, front],
        };
        let answer = self.txn(txn).await?;
        let header = answer.header;
        let before = if answer.succeeded {
            None
        } else {
            kvs(answer.responses.first())?.into_iter().next()
        };
        let rev = match &before {
            Some(before) => before.create_revision,
            None => header.map_or(0, |header| header.revision),
        };
        let front = kvs(answer.responses.get(1))?.into_iter().next();
        let place = self.place(prefix, key, rev);
        Ok(Joined {
            place,
            before,
            front,
            header,
        })
    }

    /// A place that the caller says it has.
    pub(super) fn place(&self, prefix: Bytes, key: Bytes, rev: i64) -> Place {
        Place {
            session: self.clone(),
            prefix,
            key,
            rev,
        }
    }

    /// The key in front of the queue of `name`, and the answer's header.
    ///
    /// # Errors
    ///
    /// What the read says.
    pub(super) async fn front(
        &self,
        name: &[u8],
    ) -> Result<(Option<KeyValue>, Option<ResponseHeader>), Status> {
        let (kvs, header) = self.range(front(&prefix(name))).await?;
        Ok((kvs.into_iter().next(), header))
    }

    async fn range(
        &self,
        range: RangeRequest,
    ) -> Result<(Vec<KeyValue>, Option<ResponseHeader>), Status> {
        let txn = TxnRequest {
            success: vec![op(OpRequest::RequestRange(range))],
            ..TxnRequest::default()
        };
        let answer = self.txn(txn).await?;
        Ok((kvs(answer.responses.first())?, answer.header))
    }

    /// Carries out a transaction. Its errors are all of code Unknown, as etcd's client inside the
    /// server makes them.
    async fn txn(&self, txn: TxnRequest) -> Result<TxnResponse, Status> {
        self.kv.txn(txn, &self.caller).await.map_err(as_unknown)
    }

    /// Waits for the first change, from `rev` on, that `is_it` accepts, among keys.
    ///
    /// False: history was compacted or the stream has ended; look at the keys again.
    async fn wait(&self, ranges: Vec<KeyRange>, rev: i64, filters: Filters) -> bool {
        let Ok(start) = Revision::from_wire(rev) else {
            return false;
        };
        let (asks, mut replies) = self.member.watches().open().await;
        for range in ranges {
            let request = WatchRequest {
                start: WatchStart::At(start),
                filters,
                ..WatchRequest::new(range)
            };
            asks.create(request).await;
        }
        loop {
            let reply = std::future::poll_fn(|context| replies.poll_next(context)).await;
            match reply.map(|reply| reply.kind) {
                Some(ReplyKind::Events { .. }) => return true,
                Some(ReplyKind::Created { .. } | ReplyKind::Progress { .. }) => {}
                Some(
                    ReplyKind::Refused { .. }
                    | ReplyKind::Canceled { .. }
                    | ReplyKind::Compacted { .. },
                )
                | None => return false,
            }
        }
    }

    /// Waits until something changes under `name` after `rev`.
    pub(super) async fn wait_for_change(&self, name: &[u8], rev: i64) {
        let range = KeyRange::prefix(prefix(name));
        self.wait(vec![range], rev.saturating_add(1), Filters::default())
            .await;
    }
}

impl Place {
    /// Waits until the place is in front, and makes sure, in a read of what is now, that it is still
    /// there. If the caller gives up, the place is given up.
    ///
    /// # Errors
    ///
    /// What a read says.
    pub(super) async fn wait_until_in_front(&self) -> Result<Waited, Status> {
        let guard = GiveUp(Some(self.clone()));
        let waited = self.wait_for_those_before().await;
        if matches!(waited, Ok(Waited::InFront(_))) {
            guard.keep();
        }
        waited
    }

    async fn wait_for_those_before(&self) -> Result<Waited, Status> {
        let session = &self.session;
        loop {
            let last_before = RangeRequest {
                max_create_revision: self.rev.saturating_sub(1),
                sort_order: SortOrder::Descend.into(),
                ..front(&self.prefix)
            };
            let own = RangeRequest {
                key: self.key.clone(),
                ..RangeRequest::default()
            };
            // Both from one state: the own key, and the last of those before it.
            let txn = TxnRequest {
                success: [own, last_before]
                    .map(|range| op(OpRequest::RequestRange(range)))
                    .into(),
                ..TxnRequest::default()
            };
            let answer = session.txn(txn).await?;
            let own = kvs(answer.responses.first())?.into_iter().next();
            if own.is_none_or(|own| own.create_revision != self.rev) {
                return Ok(Waited::Lost);
            }
            let Some(before) = kvs(answer.responses.get(1))?.into_iter().next() else {
                return Ok(Waited::InFront(answer.header));
            };
            let now = answer.header.map_or(0, |header| header.revision);
            let keys = [before.key, self.key.clone()].map(KeyRange::One);
            let deletions = Filters {
                no_put: true,
                no_delete: false,
            };
            session
                .wait(keys.into(), now.saturating_add(1), deletions)
                .await;
        }
    }

    /// Writes another value, if the place is still there. False: it is not.
    ///
    /// # Errors
    ///
    /// What the transaction says.
    pub(super) async fn proclaim(
        &self,
        value: Bytes,
    ) -> Result<(bool, Option<ResponseHeader>), Status> {
        let put = OpRequest::RequestPut(PutRequest {
            key: self.key.clone(),
            value,
            lease: self.session.lease,
            ..PutRequest::default()
        });
        self.if_there(put).await
    }

    /// Gives the place up, if it is still there.
    ///
    /// # Errors
    ///
    /// What the transaction says.
    pub(super) async fn give_up(&self) -> Result<Option<ResponseHeader>, Status> {
        let delete = OpRequest::RequestDeleteRange(DeleteRangeRequest {
            key: self.key.clone(),
            ..DeleteRangeRequest::default()
        });
        Ok(self.if_there(delete).await?.1)
    }

    async fn if_there(&self, then: OpRequest) -> Result<(bool, Option<ResponseHeader>), Status> {
        let txn = TxnRequest {
            compare: vec![created_at(&self.key, self.rev)],
            success: vec![op(then)],
            failure: Vec::new(),
        };
        let answer = self.session.txn(txn).await?;
        Ok((answer.succeeded, answer.header))
    }
}

/// Gives a place up when it is dropped, as it is when a client goes away while it waits.
struct GiveUp(Option<Place>);

impl GiveUp {
    fn keep(mut self) {
        self.0 = None;
    }
}

impl Drop for GiveUp {
    fn drop(&mut self) {
        if let (Some(place), Ok(runtime)) = (self.0.take(), tokio::runtime::Handle::try_current()) {
            runtime.spawn(async move { place.give_up().await });
        }
    }
}

/// What all keys of a queue begin with.
pub(super) fn prefix(name: &[u8]) -> Bytes {
    [name, b"/"].concat().into()
}

/// A lease's key in a queue: the id in hexadecimal, signed, as etcd's clients write it.
fn key(prefix: &[u8], lease: i64) -> Bytes {
    let sign = if lease < 0 { "-" } else { "" };
    let id = format!("{sign}{:x}", lease.unsigned_abs());
    [prefix, id.as_bytes()].concat().into()
}

/// The key that was created first.
fn front(prefix: &Bytes) -> RangeRequest {
    let mut range_end = prefix.to_vec();
    if let Some(slash) = range_end.last_mut() {
        *slash += 1;
    }
    RangeRequest {
        key: prefix.clone(),
        range_end: range_end.into(),
        limit: 1,
        sort_order: SortOrder::Ascend.into(),
        sort_target: SortTarget::Create.into(),
        ..RangeRequest::default()
    }
}

fn created_at(key: &Bytes, rev: i64) -> Compare {
    Compare {
        result: CompareResult::Equal.into(),
        target: CompareTarget::Create.into(),
        key: key.clone(),
        target_union: Some(TargetUnion::CreateRevision(rev)),
        ..Compare::default()
    }
}

const fn op(request: OpRequest) -> RequestOp {
    RequestOp {
        request: Some(request),
    }
}

/// The key-values of a range's answer.
fn kvs(response: Option<&ResponseOp>) -> Result<Vec<KeyValue>, Status> {
    let Some(OpResponse::ResponseRange(range)) = response.and_then(|it| it.response.as_ref())
    else {
        return Err(super::kv::mismatch());
    };
    // At most one, so encoding it once more costs nothing to speak of.
    let decoded = etcdserverpb::RangeResponse::decode(&*range.encode_to_vec());
    let decoded = decoded.map_err(|error| Status::internal(error.to_string()))?;
    Ok(decoded.kvs)
}

/// An error as etcd's locks and elections tell it.
#[expect(clippy::needless_pass_by_value, reason = "made for `map_err`")]
pub(super) fn as_unknown(status: Status) -> Status {
    Status::new(Code::Unknown, status.message())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_named_as_etcds_clients_name_them() {
        for (lease, expected) in [(0x0653_a1fe, "n/653a1fe"), (-5, "n/-5"), (1, "n/1")] {
            assert_eq!(key(&prefix(b"n"), lease), expected);
        }
        assert_eq!(front(&prefix(b"n")).range_end, "n0");
    }
}
