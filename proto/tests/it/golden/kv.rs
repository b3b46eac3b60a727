//! Keys and transactions.

use bytes::Bytes;
use cairn_proto::{
    etcdserverpb::{
        compare::{CompareResult, CompareTarget, TargetUnion},
        range_request::{SortOrder, SortTarget},
        request_op::Request,
        response_op::Response,
        *,
    },
    mvccpb::KeyValue,
};
use prost::Message;

use super::{bytes, check, golden, header, kv};

/// Nested, with every kind of compare.
pub(super) fn txn() -> TxnRequest {
    let compare = |result: CompareResult, target: CompareTarget, union| Compare {
        result: result.into(),
        target: target.into(),
        key: bytes("k"),
        target_union: Some(union),
        range_end: Bytes::new(),
    };
    let first = compare(
        CompareResult::Equal,
        CompareTarget::Version,
        TargetUnion::Version(0),
    );
    let less = TargetUnion::ModRevision(-1);
    let not_equal = TargetUnion::Value(Bytes::new());
    let compares = vec![
        first.clone(),
        compare(
            CompareResult::Greater,
            CompareTarget::Create,
            TargetUnion::CreateRevision(5),
        ),
        compare(CompareResult::Less, CompareTarget::Mod, less),
        Compare {
            range_end: bytes("l"),
            ..compare(CompareResult::NotEqual, CompareTarget::Value, not_equal)
        },
        compare(
            CompareResult::Equal,
            CompareTarget::Lease,
            TargetUnion::Lease(6),
        ),
        Compare {
            key: bytes("no-target"),
            ..Compare::default()
        },
    ];
    let op = |request| RequestOp {
        request: Some(request),
    };
    let key = bytes("k");
    let put = PutRequest {
        key: key.clone(),
        value: bytes("v"),
        ..PutRequest::default()
    };
    let get = RangeRequest {
        key: key.clone(),
        ..RangeRequest::default()
    };
    let delete = DeleteRangeRequest {
        key,
        ..DeleteRangeRequest::default()
    };
    let inner = TxnRequest {
        compare: vec![first],
        success: vec![op(Request::RequestDeleteRange(delete))],
        failure: vec![],
    };
    TxnRequest {
        compare: compares,
        success: vec![op(Request::RequestPut(put)), op(Request::RequestTxn(inner))],
        failure: vec![op(Request::RequestRange(get)), RequestOp { request: None }],
    }
}

#[test]
fn puts() {
    check("empty_put", &PutRequest::default());
    check(
        "put",
        &PutRequest {
            key: bytes("foo"),
            value: bytes("bar"),
            lease: i64::MAX,
            prev_kv: true,
            ignore_value: true,
            ignore_lease: true,
        },
    );
    check(
        "put_response",
        &PutResponse {
            header: header(),
            prev_kv: Some(kv("foo")),
        },
    );
}

#[test]
fn ranges_with_every_option() {
    check(
        "range_every_option",
        &RangeRequest {
            key: bytes("a"),
            range_end: bytes("\0"),
            limit: 500,
            revision: -1,
            sort_order: SortOrder::Descend.into(),
            sort_target: SortTarget::Value.into(),
            serializable: true,
            keys_only: true,
            count_only: true,
            min_mod_revision: 1,
            max_mod_revision: 1 << 40,
            min_create_revision: 3,
            max_create_revision: 4,
        },
    );
    let keys_only = KeyValue {
        key: bytes("keys-only"),
        ..KeyValue::default()
    };
    let kvs = vec![kv("foo"), keys_only, KeyValue::default()];
    check(
        "range_response",
        &RangeResponse {
            header: header(),
            kvs,
            more: true,
            count: 1000,
        },
    );
    let count_only = RangeResponse {
        header: header(),
        count: 3,
        ..RangeResponse::default()
    };
    check("range_response_count", &count_only);
    let chunk = RangeResponse {
        kvs: vec![kv("a")],
        ..RangeResponse::default()
    };
    check(
        "range_stream_response",
        &RangeStreamResponse {
            range_response: Some(chunk),
        },
    );
}

#[test]
fn deletes_and_compactions() {
    let delete = DeleteRangeRequest {
        key: bytes("a"),
        range_end: bytes("b"),
        prev_kv: true,
    };
    check("delete_range", &delete);
    let prev_kvs = vec![kv("a"), kv("aa")];
    check(
        "delete_range_response",
        &DeleteRangeResponse {
            header: header(),
            deleted: 2,
            prev_kvs,
        },
    );
    check(
        "compaction",
        &CompactionRequest {
            revision: 99,
            physical: true,
        },
    );
}

#[test]
fn nested_transactions_with_every_compare() {
    check("txn_nested", &txn());
    let revision = Some(ResponseHeader {
        revision: 42,
        ..ResponseHeader::default()
    });
    let op = |response| ResponseOp {
        response: Some(response),
    };
    let put = PutResponse {
        header: None,
        prev_kv: Some(kv("p")),
    };
    let inner = TxnResponse {
        responses: vec![op(Response::ResponsePut(put))],
        ..TxnResponse::default()
    };
    let range = RangeResponse {
        header: revision,
        kvs: vec![kv("k")],
        count: 1,
        ..Default::default()
    };
    let delete = DeleteRangeResponse {
        header: None,
        deleted: 1,
        prev_kvs: vec![kv("d")],
    };
    check(
        "txn_response_nested",
        &TxnResponse {
            header: header(),
            succeeded: true,
            responses: vec![
                op(Response::ResponseRange(range)),
                op(Response::ResponsePut(PutResponse {
                    header: revision,
                    prev_kv: None,
                })),
                op(Response::ResponseDeleteRange(delete)),
                op(Response::ResponseTxn(inner)),
            ],
        },
    );
}

#[test]
fn fields_in_another_order_mean_the_same() {
    let txn_bytes = golden("txn_nested_oneof_last");
    assert_ne!(txn_bytes, golden("txn_nested"));
    assert_eq!(TxnRequest::decode(txn_bytes.as_slice()).unwrap(), txn());
    let entry = golden("raft_txn_oneof_last");
    assert_eq!(
        InternalRaftRequest::decode(entry.as_slice()).unwrap().txn,
        Some(txn())
    );
}
