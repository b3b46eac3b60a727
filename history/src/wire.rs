//! Requests to the wire and back, and answers from it.
//!
//! What the wire's zero stands for is said here, once: no revision, no lease, no limit.

use cairn_proto::etcdserverpb as pb;
use cairn_proto::etcdserverpb::compare::{CompareResult, CompareTarget, TargetUnion};
use cairn_proto::etcdserverpb::range_request::{SortOrder, SortTarget as WireTarget};
use cairn_proto::etcdserverpb::watch_create_request::FilterType;
use cairn_proto::mvccpb;

use crate::{
    Answer, Bounds, Compare, Comparison, Data, DeleteRequest, DeleteResponse, Event, EventKind,
    HashKv, KeyRange, KeyValue, LeaseId, Operand, Outcome, PutRequest, RangeRequest, RangeResponse,
    Refusal, Request, Response, Revision, Sort, SortTarget, Term, Time, TxnOp, TxnOpResponse,
    TxnRequest, TxnResponse, WatchRequest, WatchResponse, WatchSays,
};

fn range_of(key: &bytes::Bytes, range_end: &bytes::Bytes) -> KeyRange {
    KeyRange::from_wire(key.clone().into(), range_end.clone().into())
}

fn wire_range(range: &KeyRange) -> (bytes::Bytes, bytes::Bytes) {
    let (key, end) = range.to_wire();
    (key.into(), end.into())
}

fn nonzero(number: i64) -> Option<i64> {
    (number != 0).then_some(number)
}

fn lease_of(number: i64) -> Option<LeaseId> {
    nonzero(number).map(LeaseId)
}

fn revision_of(number: i64) -> Option<Revision> {
    nonzero(number).map(Revision)
}

fn or_zero(revision: Option<Revision>) -> i64 {
    revision.unwrap_or_default().0
}

impl From<&pb::RangeRequest> for RangeRequest {
    fn from(wire: &pb::RangeRequest) -> Self {
        let by = match wire.sort_target() {
            WireTarget::Key => SortTarget::Key,
            WireTarget::Version => SortTarget::Version,
            WireTarget::Create => SortTarget::Create,
            WireTarget::Mod => SortTarget::Mod,
            WireTarget::Value => SortTarget::Value,
        };
        let descending = wire.sort_order() == SortOrder::Descend;
        let plain = wire.sort_order() == SortOrder::None && by == SortTarget::Key;
        Self {
            range: range_of(&wire.key, &wire.range_end),
            revision: revision_of(wire.revision),
            limit: usize::try_from(wire.limit).ok().filter(|limit| *limit > 0),
            serializable: wire.serializable,
            keys_only: wire.keys_only,
            count_only: wire.count_only,
            sort: (!plain).then_some(Sort { by, descending }),
            mod_bounds: Bounds {
                min: revision_of(wire.min_mod_revision),
                max: revision_of(wire.max_mod_revision),
            },
            create_bounds: Bounds {
                min: revision_of(wire.min_create_revision),
                max: revision_of(wire.max_create_revision),
            },
        }
    }
}

impl From<&RangeRequest> for pb::RangeRequest {
    fn from(request: &RangeRequest) -> Self {
        let (key, range_end) = wire_range(&request.range);
        let order = |sort: Sort| {
            if sort.descending {
                SortOrder::Descend
            } else {
                SortOrder::Ascend
            }
        };
        let target = |sort: Sort| match sort.by {
            SortTarget::Key => WireTarget::Key,
            SortTarget::Version => WireTarget::Version,
            SortTarget::Create => WireTarget::Create,
            SortTarget::Mod => WireTarget::Mod,
            SortTarget::Value => WireTarget::Value,
        };
        Self {
            key,
            range_end,
            limit: request
                .limit
                .map_or(0, |limit| i64::try_from(limit).unwrap_or(i64::MAX)),
            revision: or_zero(request.revision),
            sort_order: request.sort.map_or(SortOrder::None, order).into(),
            sort_target: request.sort.map_or(WireTarget::Key, target).into(),
            serializable: request.serializable,
            keys_only: request.keys_only,
            count_only: request.count_only,
            min_mod_revision: or_zero(request.mod_bounds.min),
            max_mod_revision: or_zero(request.mod_bounds.max),
            min_create_revision: or_zero(request.create_bounds.min),
            max_create_revision: or_zero(request.create_bounds.max),
        }
    }
}

impl From<&pb::PutRequest> for PutRequest {
    fn from(wire: &pb::PutRequest) -> Self {
        Self {
            key: wire.key.clone().into(),
            value: wire.value.clone().into(),
            lease: lease_of(wire.lease),
            prev_kv: wire.prev_kv,
            ignore_value: wire.ignore_value,
            ignore_lease: wire.ignore_lease,
        }
    }
}

impl From<&PutRequest> for pb::PutRequest {
    fn from(request: &PutRequest) -> Self {
        Self {
            key: request.key.clone().into(),
            value: request.value.clone().into(),
            lease: request.lease.unwrap_or_default().0,
            prev_kv: request.prev_kv,
            ignore_value: request.ignore_value,
            ignore_lease: request.ignore_lease,
        }
    }
}

impl From<&pb::DeleteRangeRequest> for DeleteRequest {
    fn from(wire: &pb::DeleteRangeRequest) -> Self {
        Self {
            range: range_of(&wire.key, &wire.range_end),
            prev_kv: wire.prev_kv,
        }
    }
}

impl From<&DeleteRequest> for pb::DeleteRangeRequest {
    fn from(request: &DeleteRequest) -> Self {
        let (key, range_end) = wire_range(&request.range);
        Self {
            key,
            range_end,
            prev_kv: request.prev_kv,
        }
    }
}

impl From<&pb::Compare> for Compare {
    fn from(wire: &pb::Compare) -> Self {
        let is = match wire.result() {
            CompareResult::Equal => Comparison::Equal,
            CompareResult::Greater => Comparison::Greater,
            CompareResult::Less => Comparison::Less,
            CompareResult::NotEqual => Comparison::NotEqual,
        };
        // An operand of another kind than the target counts as zero, as it does in etcd.
        let operand = match (wire.target(), &wire.target_union) {
            (CompareTarget::Version, Some(TargetUnion::Version(version))) => {
                Operand::Version(*version)
            }
            (CompareTarget::Version, _) => Operand::Version(0),
            (CompareTarget::Create, Some(TargetUnion::CreateRevision(revision))) => {
                Operand::Create(*revision)
            }
            (CompareTarget::Create, _) => Operand::Create(0),
            (CompareTarget::Mod, Some(TargetUnion::ModRevision(revision))) => {
                Operand::Mod(*revision)
            }
            (CompareTarget::Mod, _) => Operand::Mod(0),
            (CompareTarget::Value, Some(TargetUnion::Value(value))) => {
                Operand::Value(value.clone().into())
            }
            (CompareTarget::Value, _) => Operand::Value(Data::default()),
            (CompareTarget::Lease, Some(TargetUnion::Lease(lease))) => Operand::Lease(*lease),
            (CompareTarget::Lease, _) => Operand::Lease(0),
        };
        Self {
            range: range_of(&wire.key, &wire.range_end),
            is,
            operand,
        }
    }
}

impl From<&Compare> for pb::Compare {
    fn from(compare: &Compare) -> Self {
        let (key, range_end) = wire_range(&compare.range);
        let result = match compare.is {
            Comparison::Equal => CompareResult::Equal,
            Comparison::Greater => CompareResult::Greater,
            Comparison::Less => CompareResult::Less,
            Comparison::NotEqual => CompareResult::NotEqual,
        };
        let (target, operand) = match &compare.operand {
            Operand::Version(it) => (CompareTarget::Version, TargetUnion::Version(*it)),
            Operand::Create(it) => (CompareTarget::Create, TargetUnion::CreateRevision(*it)),
            Operand::Mod(it) => (CompareTarget::Mod, TargetUnion::ModRevision(*it)),
            Operand::Value(it) => (CompareTarget::Value, TargetUnion::Value(it.clone().into())),
            Operand::Lease(it) => (CompareTarget::Lease, TargetUnion::Lease(*it)),
        };
        Self {
            result: result.into(),
            target: target.into(),
            key,
            range_end,
            target_union: Some(operand),
        }
    }
}

impl From<&pb::TxnRequest> for TxnRequest {
    fn from(wire: &pb::TxnRequest) -> Self {
        let ops = |ops: &[pb::RequestOp]| {
            // An operation that says nothing does nothing.
            let ops = ops.iter().filter_map(|op| op.request.as_ref());
            ops.map(|op| match op {
                pb::request_op::Request::RequestRange(range) => TxnOp::Range(range.into()),
                pb::request_op::Request::RequestPut(put) => TxnOp::Put(put.into()),
                pb::request_op::Request::RequestDeleteRange(delete) => {
                    TxnOp::DeleteRange(delete.into())
                }
                pb::request_op::Request::RequestTxn(txn) => TxnOp::Txn(txn.into()),
            })
            .collect()
        };
        Self {
            compares: wire.compare.iter().map(Compare::from).collect(),
            success: ops(&wire.success),
            failure: ops(&wire.failure),
        }
    }
}

impl From<&TxnRequest> for pb::TxnRequest {
    fn from(request: &TxnRequest) -> Self {
        let op = |op: &TxnOp| pb::RequestOp {
            request: Some(match op {
                TxnOp::Range(range) => pb::request_op::Request::RequestRange(range.into()),
                TxnOp::Put(put) => pb::request_op::Request::RequestPut(put.into()),
                TxnOp::DeleteRange(delete) => {
                    pb::request_op::Request::RequestDeleteRange(delete.into())
                }
                TxnOp::Txn(txn) => pb::request_op::Request::RequestTxn(txn.into()),
            }),
        };
        Self {
            compare: request.compares.iter().map(pb::Compare::from).collect(),
            success: request.success.iter().map(op).collect(),
            failure: request.failure.iter().map(op).collect(),
        }
    }
}

impl From<&pb::WatchCreateRequest> for WatchRequest {
    fn from(wire: &pb::WatchCreateRequest) -> Self {
        Self {
            range: range_of(&wire.key, &wire.range_end),
            start: revision_of(wire.start_revision),
            prev_kv: wire.prev_kv,
            no_put: wire.filters().any(|filter| filter == FilterType::Noput),
            no_delete: wire.filters().any(|filter| filter == FilterType::Nodelete),
            progress_notify: wire.progress_notify,
            fragment: wire.fragment,
        }
    }
}

impl From<&WatchRequest> for pb::WatchCreateRequest {
    fn from(request: &WatchRequest) -> Self {
        let (key, range_end) = wire_range(&request.range);
        let no_put = request.no_put.then_some(FilterType::Noput);
        let no_delete = request.no_delete.then_some(FilterType::Nodelete);
        Self {
            key,
            range_end,
            start_revision: or_zero(request.start),
            progress_notify: request.progress_notify,
            filters: no_put.into_iter().chain(no_delete).map(i32::from).collect(),
            prev_kv: request.prev_kv,
            watch_id: 0,
            fragment: request.fragment,
        }
    }
}

impl From<&mvccpb::KeyValue> for KeyValue {
    fn from(wire: &mvccpb::KeyValue) -> Self {
        Self {
            key: wire.key.clone().into(),
            value: wire.value.clone().into(),
            create_revision: Revision(wire.create_revision),
            mod_revision: Revision(wire.mod_revision),
            version: wire.version,
            lease: lease_of(wire.lease),
        }
    }
}

impl From<&mvccpb::Event> for Event {
    fn from(wire: &mvccpb::Event) -> Self {
        let kind = match wire.r#type() {
            mvccpb::event::EventType::Put => EventKind::Put,
            mvccpb::event::EventType::Delete => EventKind::Delete,
        };
        Self {
            kind,
            kv: wire.kv.as_ref().map(KeyValue::from).unwrap_or_default(),
            prev_kv: wire.prev_kv.as_ref().map(KeyValue::from),
        }
    }
}

impl WatchResponse {
    /// What came at that time.
    #[must_use]
    pub fn from_wire(at: Time, wire: &pb::WatchResponse) -> Self {
        let says = if wire.canceled {
            WatchSays::Canceled {
                compacted: revision_of(wire.compact_revision),
                reason: wire.cancel_reason.clone(),
            }
        } else if wire.created {
            WatchSays::Created
        } else if wire.events.is_empty() {
            WatchSays::Progress
        } else {
            WatchSays::Events {
                events: wire.events.iter().map(Event::from).collect(),
                fragment: wire.fragment,
            }
        };
        Self {
            at,
            revision: Revision(wire.header.as_ref().map_or(0, |header| header.revision)),
            says,
        }
    }
}

impl From<&pb::RangeResponse> for RangeResponse {
    fn from(wire: &pb::RangeResponse) -> Self {
        Self {
            kvs: wire.kvs.iter().map(KeyValue::from).collect(),
            more: wire.more,
            count: wire.count,
        }
    }
}

impl From<&pb::DeleteRangeResponse> for DeleteResponse {
    fn from(wire: &pb::DeleteRangeResponse) -> Self {
        Self {
            deleted: wire.deleted,
            prev_kvs: wire.prev_kvs.iter().map(KeyValue::from).collect(),
        }
    }
}

impl From<&pb::TxnResponse> for TxnResponse {
    fn from(wire: &pb::TxnResponse) -> Self {
        let ops = wire.responses.iter().filter_map(|op| op.response.as_ref());
        let op = |op: &pb::response_op::Response| match op {
            pb::response_op::Response::ResponseRange(range) => TxnOpResponse::Range(range.into()),
            pb::response_op::Response::ResponsePut(put) => {
                TxnOpResponse::Put(put.prev_kv.as_ref().map(KeyValue::from))
            }
            pb::response_op::Response::ResponseDeleteRange(delete) => {
                TxnOpResponse::DeleteRange(delete.into())
            }
            pb::response_op::Response::ResponseTxn(txn) => TxnOpResponse::Txn(txn.into()),
        };
        Self {
            succeeded: wire.succeeded,
            responses: ops.map(op).collect(),
        }
    }
}

impl From<&pb::PutResponse> for Response {
    fn from(wire: &pb::PutResponse) -> Self {
        Self::Put(wire.prev_kv.as_ref().map(KeyValue::from))
    }
}

impl From<&pb::HashKvResponse> for HashKv {
    fn from(wire: &pb::HashKvResponse) -> Self {
        Self {
            hash: wire.hash,
            hash_revision: revision_of(wire.hash_revision),
            // etcd says -1 before the first compaction.
            compact_revision: revision_of(wire.compact_revision).filter(|it| it.0 > 0),
        }
    }
}

impl Answer {
    /// An answer with what its header says.
    #[must_use]
    pub fn with_header(at: Time, header: Option<&pb::ResponseHeader>, body: Response) -> Self {
        let revision = header.map_or(0, |header| header.revision);
        let term = header.map_or(0, |header| header.raft_term);
        Self {
            at,
            revision: revision_of(revision),
            term: (term != 0).then_some(Term(term)),
            body,
        }
    }
}

/// gRPC's numbers of the codes that etcd answers with before it does anything.
const INVALID_ARGUMENT: i32 = 3;
const NOT_FOUND: i32 = 5;
const PERMISSION_DENIED: i32 = 7;
const RESOURCE_EXHAUSTED: i32 = 8;
const FAILED_PRECONDITION: i32 = 9;
const OUT_OF_RANGE: i32 = 11;
const UNAUTHENTICATED: i32 = 16;

impl Outcome {
    /// What a gRPC error says of a request. Only what a server of etcd's API says itself, and only
    /// where it cannot have done anything, is a refusal; all else leaves a write open.
    #[must_use]
    pub fn from_error(at: Time, request: &Request, code: i32, message: &str) -> Self {
        let unknown = || Self::Unknown {
            at: Some(at),
            error: message.to_owned(),
        };
        let says_it_itself = message.starts_with("etcdserver: ");
        let why = match code {
            NOT_FOUND if message.contains("requested lease not found") => Refusal::LeaseNotFound,
            FAILED_PRECONDITION if message.contains("lease already exists") => Refusal::LeaseExists,
            OUT_OF_RANGE if message.contains("has been compacted") => Refusal::Compacted,
            OUT_OF_RANGE if message.contains("is a future revision") => Refusal::FutureRevision,
            INVALID_ARGUMENT if message.contains("key not found") => Refusal::KeyNotFound,
            INVALID_ARGUMENT | NOT_FOUND | PERMISSION_DENIED | RESOURCE_EXHAUSTED
            | FAILED_PRECONDITION | OUT_OF_RANGE | UNAUTHENTICATED
                if says_it_itself =>
            {
                Refusal::Other(message.to_owned())
            }
            _ => return unknown(),
        };
        // A lock is several requests; which of them was refused, nobody says.
        if matches!(request, Request::Lock { .. }) {
            return unknown();
        }
        Self::Refused { at, why }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transaction_is_the_same_after_the_wire() {
        let mut range = RangeRequest::new(KeyRange::prefix("a"));
        range.limit = Some(3);
        range.revision = Some(Revision(7));
        range.sort = Some(Sort {
            by: SortTarget::Mod,
            descending: true,
        });
        range.mod_bounds.min = Some(Revision(2));
        range.create_bounds.max = Some(Revision(9));
        let mut put = PutRequest::new("k", "v");
        put.lease = Some(LeaseId(5));
        put.ignore_value = true;
        let inner = TxnRequest {
            failure: vec![TxnOp::DeleteRange(DeleteRequest::new(KeyRange::all()))],
            ..TxnRequest::default()
        };
        let operands = [
            Operand::Version(1),
            Operand::Create(2),
            Operand::Mod(3),
            Operand::Value("x".into()),
            Operand::Lease(4),
        ];
        let compare = |operand| Compare {
            range: KeyRange::One("k".into()),
            is: Comparison::NotEqual,
            operand,
        };
        let txn = TxnRequest {
            compares: operands.into_iter().map(compare).collect(),
            success: vec![TxnOp::Range(range), TxnOp::Put(put), TxnOp::Txn(inner)],
            failure: Vec::new(),
        };
        assert_eq!(TxnRequest::from(&pb::TxnRequest::from(&txn)), txn);
    }

    #[test]
    fn a_watch_is_the_same_after_the_wire() {
        let request = WatchRequest {
            start: Some(Revision(3)),
            prev_kv: true,
            no_put: true,
            no_delete: true,
            progress_notify: true,
            fragment: true,
            ..WatchRequest::new(KeyRange::prefix("a"))
        };
        let wire = pb::WatchCreateRequest::from(&request);
        assert_eq!(WatchRequest::from(&wire), request);
    }

    #[test]
    fn only_what_the_server_says_itself_is_a_refusal() {
        let put = Request::put("a", "1");
        let refused = |code, message: &str| {
            matches!(
                Outcome::from_error(Time(1), &put, code, message),
                Outcome::Refused { .. }
            )
        };
        assert!(refused(NOT_FOUND, "etcdserver: requested lease not found"));
        assert!(refused(RESOURCE_EXHAUSTED, "etcdserver: too many requests"));
        assert!(!refused(RESOURCE_EXHAUSTED, "message larger than max"));
        assert!(!refused(14, "etcdserver: request timed out"));
        assert!(!refused(14, "transport error"));
        assert!(!refused(4, "context deadline exceeded"));
    }
}
