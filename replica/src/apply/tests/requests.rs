//! Random log requests, of few keys so that they meet.

use bytes::Bytes;
use cairn_lease::{Checkpoint, Expired, Expiry, LeaseId, Renewal, Term, Ttl};
use cairn_proto::etcdserverpb::compare::{CompareResult, CompareTarget, TargetUnion};
use cairn_proto::etcdserverpb::request_op::Request;
use cairn_proto::etcdserverpb::{
    AlarmRequest, CompactionRequest, Compare, DeleteRangeRequest, LeaseGrantRequest,
    LeaseRevokeRequest, PutRequest, RangeRequest, RequestOp, TxnRequest,
};
use cairn_proto::membershippb::{
    Attributes, ClusterMemberAttrSetRequest, ClusterVersionSetRequest,
};
use proptest::prelude::*;

use crate::lease_request::LeaseRequest;
use crate::log_request::LogRequest;

/// Requests, in the order of the log.
pub(super) fn script() -> impl Strategy<Value = Vec<LogRequest>> {
    prop::collection::vec(request(), 1..40)
}

fn request() -> impl Strategy<Value = LogRequest> {
    prop_oneof![
        10 => put().prop_map(LogRequest::Put),
        4 => delete().prop_map(LogRequest::DeleteRange),
        6 => lease().prop_map(LogRequest::Lease),
        8 => txn(2).prop_map(LogRequest::Txn),
        3 => (-1_i64..30).prop_map(|revision| LogRequest::Compaction(CompactionRequest {
            revision,
            physical: false,
        })),
        1 => (0..3, 0_u64..3, 0..3).prop_map(|(action, member_id, alarm)| {
            LogRequest::Alarm(AlarmRequest { action, member_id, alarm })
        }),
        1 => (0..3).prop_map(|minor| LogRequest::ClusterVersionSet(ClusterVersionSetRequest {
            ver: format!("3.{minor}.0"),
        })),
        1 => "[a-c]".prop_map(|name| {
            LogRequest::ClusterMemberAttrSet(ClusterMemberAttrSetRequest {
                member_id: 1,
                member_attributes: Some(Attributes { name, client_urls: Vec::new() }),
            })
        }),
    ]
}

fn lease() -> impl Strategy<Value = LeaseRequest> {
    let id = || (1..4_i64).prop_map(|id| LeaseId::from_wire(id).unwrap());
    let term = || (1..5_u64).prop_map(Term);
    // Many renewals, so that some are those that were seen.
    let expired = (id(), (1..40_u64).prop_map(Renewal));
    let expired = expired.prop_map(|(id, renewal)| Expired { id, renewal });
    let checkpoint = (id(), (1..40_u64).prop_map(Renewal), 1..600_i64);
    let checkpoint = checkpoint.prop_map(|(id, renewal, secs)| Checkpoint {
        id,
        renewal,
        remaining: Ttl::from_wire(secs).unwrap(),
    });
    prop_oneof![
        6 => (1..4_i64, prop_oneof![9 => Just(600), 1 => Just(i64::MAX)])
            .prop_map(|(id, ttl)| LeaseRequest::Grant(LeaseGrantRequest { ttl, id })),
        2 => (1..4_i64).prop_map(|id| LeaseRequest::Revoke(LeaseRevokeRequest { id })),
        2 => (term(), prop::collection::vec(checkpoint, 0..3))
            .prop_map(|(term, leases)| LeaseRequest::Checkpoint { term, leases }),
        1 => (term(), id()).prop_map(|(term, lease)| LeaseRequest::Renew { term, lease }),
        4 => (term(), prop::collection::vec(expired, 0..40))
            .prop_map(|(term, leases)| LeaseRequest::Expire(Expiry { term, leases })),
    ]
}

fn key() -> impl Strategy<Value = Bytes> {
    "[a-e]".prop_map(Bytes::from)
}

fn end() -> impl Strategy<Value = Bytes> {
    prop_oneof![Just(""), Just("\0"), Just("c"), Just("f")].prop_map(Bytes::from)
}

fn put() -> impl Strategy<Value = PutRequest> {
    let value = "[xyz]{0,2}".prop_map(Bytes::from);
    let rare = prop::bool::weighted(0.15);
    (
        key(),
        value,
        rare,
        rare,
        prop_oneof![5 => Just(0), 1 => 1..4_i64],
        any::<bool>(),
    )
        .prop_map(
            |(key, value, ignore_value, ignore_lease, lease, prev_kv)| PutRequest {
                key,
                value: if ignore_value { Bytes::new() } else { value },
                lease: if ignore_lease { 0 } else { lease },
                prev_kv,
                ignore_value,
                ignore_lease,
            },
        )
}

fn delete() -> impl Strategy<Value = DeleteRangeRequest> {
    (key(), end(), any::<bool>()).prop_map(|(key, range_end, prev_kv)| DeleteRangeRequest {
        key,
        range_end,
        prev_kv,
    })
}

fn range() -> impl Strategy<Value = RangeRequest> {
    let revision = prop_oneof![6 => Just(0_i64), 1 => -1_i64..30];
    (key(), end(), revision).prop_map(|(key, range_end, revision)| RangeRequest {
        key,
        range_end,
        revision,
        ..RangeRequest::default()
    })
}

fn compare() -> impl Strategy<Value = Compare> {
    let target = prop_oneof![
        (0_i64..4).prop_map(|it| (CompareTarget::Version, TargetUnion::Version(it))),
        (0_i64..9).prop_map(|it| (CompareTarget::Create, TargetUnion::CreateRevision(it))),
        (0_i64..9).prop_map(|it| (CompareTarget::Mod, TargetUnion::ModRevision(it))),
        "[xyz]{0,1}".prop_map(|it| (CompareTarget::Value, TargetUnion::Value(it.into()))),
    ];
    let result = prop::sample::select(vec![
        CompareResult::Equal,
        CompareResult::Greater,
        CompareResult::Less,
        CompareResult::NotEqual,
    ]);
    (key(), end(), result, target).prop_map(|(key, range_end, result, (target, operand))| Compare {
        result: result.into(),
        target: target.into(),
        key,
        range_end,
        target_union: Some(operand),
    })
}

fn txn(depth: u32) -> BoxedStrategy<TxnRequest> {
    let branch = || prop::collection::vec(operation(depth), 0..4);
    (prop::collection::vec(compare(), 0..3), branch(), branch())
        .prop_map(|(compare, success, failure)| TxnRequest {
            compare,
            success,
            failure,
        })
        .boxed()
}

fn operation(depth: u32) -> BoxedStrategy<RequestOp> {
    let flat = prop_oneof![
        put().prop_map(Request::RequestPut),
        delete().prop_map(Request::RequestDeleteRange),
        range().prop_map(Request::RequestRange),
    ];
    let any = if depth == 0 {
        flat.boxed()
    } else {
        prop_oneof![4 => flat, 1 => txn(depth - 1).prop_map(Request::RequestTxn)].boxed()
    };
    any.prop_map(|request| RequestOp {
        request: Some(request),
    })
    .boxed()
}
