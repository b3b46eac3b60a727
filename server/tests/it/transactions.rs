//! Transactions: the order of checks, atomicity, keys written twice, and headers.

use cairn_proto::etcdserverpb::compare::{CompareResult, TargetUnion};
use cairn_proto::etcdserverpb::request_op::Request;
use cairn_proto::etcdserverpb::response_op::Response;
use cairn_proto::etcdserverpb::{Compare, PutRequest, RangeRequest, RequestOp, TxnRequest};
use tonic::Code;

use crate::harness::Server;
use crate::requests::*;

const TOO_MANY: (Code, &str) = (
    Code::InvalidArgument,
    "etcdserver: too many operations in txn request",
);
const KEY_NOT_FOUND: (Code, &str) = (Code::InvalidArgument, "etcdserver: key not found");
const LEASE_NOT_FOUND: (Code, &str) = (Code::NotFound, "etcdserver: requested lease not found");

fn puts(count: usize) -> Vec<RequestOp> {
    (0..count)
        .map(|n| put_op(&format!("p{n:03}"), ""))
        .collect()
}

fn read_at(revision: i64) -> RequestOp {
    op(Request::RequestRange(RangeRequest {
        revision,
        ..range("a", "")
    }))
}

fn else_(failure: Vec<RequestOp>) -> TxnRequest {
    TxnRequest {
        failure,
        ..TxnRequest::default()
    }
}

/// A condition that no store of these tests meets.
fn never() -> Compare {
    compare("a", CompareResult::Equal, TargetUnion::Version(99))
}

#[tokio::test]
async fn a_refused_transaction_names_the_first_thing_wrong_and_writes_nothing() {
    let server = Server::start(&[]);
    let mut kv = server.clients().await.kv;
    for value in ["1", "2", "3", "4"] {
        kv.put(put("a", value)).await.unwrap();
    }
    kv.compact(cairn_proto::etcdserverpb::CompactionRequest {
        revision: 3,
        physical: false,
    })
    .await
    .unwrap();
    let with_lease = op(Request::RequestPut(PutRequest {
        lease: 77,
        ..put("b", "x")
    }));
    let keep_value = |key: &str, value: &str| {
        op(Request::RequestPut(PutRequest {
            ignore_value: true,
            ..put(key, value)
        }))
    };
    let keep_lease = |key: &str, lease| {
        op(Request::RequestPut(PutRequest {
            ignore_lease: true,
            lease,
            ..put(key, "")
        }))
    };
    let nested = |success| txn_op(then(success));
    let value_given = (Code::InvalidArgument, "etcdserver: value is provided");
    let lease_given = (Code::InvalidArgument, "etcdserver: lease is provided");
    let cases = [
        ("129 operations", then(puts(129)), TOO_MANY),
        ("129 in the branch not taken", else_(puts(129)), TOO_MANY),
        (
            "129 compares",
            TxnRequest {
                compare: vec![never(); 129],
                ..TxnRequest::default()
            },
            TOO_MANY,
        ),
        (
            "what the level above leaves is too little",
            then([vec![nested(puts(127))], puts(2)].concat()),
            TOO_MANY,
        ),
        (
            "too many comes before an empty key",
            then([vec![put_op("", "")], puts(128)].concat()),
            TOO_MANY,
        ),
        (
            "an empty key in a compare",
            TxnRequest {
                compare: vec![compare("", CompareResult::Equal, TargetUnion::Version(0))],
                ..TxnRequest::default()
            },
            EMPTY_KEY,
        ),
        ("an empty key to put", then(vec![put_op("", "")]), EMPTY_KEY),
        (
            "an empty key to read",
            then(vec![range_op("", "")]),
            EMPTY_KEY,
        ),
        (
            "an empty key to delete",
            then(vec![delete_op("", "z")]),
            EMPTY_KEY,
        ),
        (
            "an empty key, not taken",
            else_(vec![put_op("", "")]),
            EMPTY_KEY,
        ),
        (
            "an operation of no kind",
            then(vec![RequestOp { request: None }]),
            KEY_NOT_FOUND,
        ),
        (
            "an empty key comes before a key written twice",
            then(vec![put_op("k", ""), put_op("k", ""), put_op("", "")]),
            EMPTY_KEY,
        ),
        (
            "value to keep and given",
            then(vec![keep_value("a", "x")]),
            value_given,
        ),
        (
            "lease to keep and given",
            then(vec![keep_lease("a", 7)]),
            lease_given,
        ),
        (
            "a key written twice comes before a compacted read",
            then(vec![read_at(1), put_op("k", ""), put_op("k", "")]),
            DUPLICATE_KEY,
        ),
        (
            "a compacted read after a put",
            then(vec![put_op("b", ""), read_at(2)]),
            COMPACTED,
        ),
        (
            "a negative revision",
            then(vec![put_op("b", ""), read_at(-1)]),
            COMPACTED,
        ),
        (
            "a future read after a put",
            then(vec![put_op("b", ""), read_at(6)]),
            FUTURE,
        ),
        (
            "a future read in a nested transaction",
            then(vec![put_op("b", ""), nested(vec![read_at(6)])]),
            FUTURE,
        ),
        (
            "no such lease, after a put",
            then(vec![put_op("c", ""), with_lease.clone()]),
            LEASE_NOT_FOUND,
        ),
        (
            "no such key to keep the value of, though put before",
            then(vec![delete_op("x", ""), keep_value("b", "")]),
            KEY_NOT_FOUND,
        ),
        (
            "no such key to keep the lease of",
            then(vec![put_op("c", ""), keep_lease("b", 0)]),
            KEY_NOT_FOUND,
        ),
    ];
    for (case, txn, expected) in cases {
        refused(kv.txn(txn).await, expected, case);
        let state = kv.range(all()).await.unwrap().into_inner();
        assert_eq!(pairs(&state.kvs), ["a=4"], "{case}");
        assert_eq!(state.header.unwrap().revision, 5, "{case}");
    }
}

/// Tried on etcd 3.7.1: a store that was never compacted counts as compacted at −1.
#[tokio::test]
async fn a_transaction_may_read_at_minus_one_until_the_first_compaction() {
    let server = Server::start(&[]);
    let mut kv = server.clients().await.kv;
    kv.put(put("a", "1")).await.unwrap();
    for write in [vec![], vec![put_op("b", "")]] {
        let reading = |revision| then([vec![read_at(revision)], write.clone()].concat());
        let mut answer = kv.txn(reading(-1)).await.unwrap().into_inner();
        let Some(Response::ResponseRange(read)) = answer.responses.swap_remove(0).response else {
            panic!("{answer:?}");
        };
        assert_eq!(pairs(&read.kvs), ["a=1"]);
        refused(kv.txn(reading(-2)).await, COMPACTED, "below");
    }
    let at_zero = cairn_proto::etcdserverpb::CompactionRequest::default();
    kv.compact(at_zero).await.unwrap();
    let reading = then(vec![read_at(-1)]);
    refused(
        kv.txn(reading).await,
        COMPACTED,
        "after a compaction at zero",
    );
}

#[tokio::test]
async fn what_only_the_branch_not_taken_would_do_is_no_error() {
    let server = Server::start(&[]);
    let mut kv = server.clients().await.kv;
    let bad = vec![
        op(Request::RequestPut(PutRequest {
            lease: 77,
            ..put("b", "x")
        })),
        read_at(50),
        op(Request::RequestPut(PutRequest {
            ignore_value: true,
            ..put("c", "")
        })),
    ];
    let taken_then = TxnRequest {
        success: vec![put_op("a", "then")],
        failure: bad.clone(),
        ..TxnRequest::default()
    };
    let answer = kv.txn(taken_then).await.unwrap().into_inner();
    assert!(answer.succeeded);
    let taken_else = TxnRequest {
        compare: vec![never()],
        success: bad,
        failure: vec![put_op("a", "else")],
    };
    let answer = kv.txn(taken_else).await.unwrap().into_inner();
    assert!(!answer.succeeded);
    let state = kv.range(all()).await.unwrap().into_inner();
    assert_eq!(pairs(&state.kvs), ["a=else"]);
    assert_eq!(state.header.unwrap().revision, 3);
}

#[tokio::test]
async fn keys_written_twice_are_refused_where_both_writes_would_happen() {
    let server = Server::start(&[]);
    let mut kv = server.clients().await.kv;
    let nested = |success: Vec<RequestOp>, failure: Vec<RequestOp>| {
        txn_op(TxnRequest {
            compare: Vec::new(),
            success,
            failure,
        })
    };
    let k = || put_op("k", "");
    let cases = [
        ("put, put", vec![k(), k()], false),
        ("put, delete", vec![k(), delete_op("k", "")], false),
        ("delete, put", vec![delete_op("k", ""), k()], false),
        ("put, delete range", vec![k(), delete_op("a", "z")], false),
        // Here, and here alone, etcd takes the end `\0` for an ordinary key.
        (
            "delete from key, put",
            vec![delete_op("a", "\0"), k()],
            true,
        ),
        (
            "put, delete from key",
            vec![k(), delete_op("k", "\0")],
            true,
        ),
        ("delete all, put", vec![delete_op("\0", "\0"), k()], true),
        ("put, delete nothing", vec![k(), delete_op("k", "k")], true),
        (
            "reversed delete from the key",
            vec![delete_op("k", "a"), k()],
            true,
        ),
        (
            "reversed delete up to the key",
            vec![delete_op("z", "k"), k()],
            true,
        ),
        (
            "put in nested and outside",
            vec![nested(vec![k()], vec![]), k()],
            false,
        ),
        (
            "put in else of nested and outside",
            vec![k(), nested(vec![], vec![k()])],
            false,
        ),
        (
            "put in two nested",
            vec![nested(vec![k()], vec![]), nested(vec![k()], vec![])],
            false,
        ),
        (
            "delete in nested, put outside",
            vec![nested(vec![delete_op("a", "z")], vec![]), k()],
            false,
        ),
        (
            "delete outside, put in nested",
            vec![delete_op("a", "z"), nested(vec![], vec![k()])],
            false,
        ),
        (
            "two levels down",
            vec![nested(vec![nested(vec![k()], vec![])], vec![]), k()],
            false,
        ),
        (
            "delete, delete",
            vec![delete_op("k", ""), delete_op("a", "z")],
            true,
        ),
        ("delete up to the key", vec![delete_op("a", "k"), k()], true),
        (
            "delete after the key",
            vec![delete_op("k\0", "z"), k()],
            true,
        ),
        ("reversed delete", vec![delete_op("z", "a"), k()], true),
        (
            "both branches of one nested",
            vec![nested(vec![k()], vec![k()])],
            true,
        ),
        (
            "put in then, delete in else of one nested",
            vec![nested(vec![k()], vec![delete_op("k", "")])],
            true,
        ),
        (
            "read and put",
            vec![range_op("k", ""), k(), range_op("a", "z")],
            true,
        ),
    ];
    for (case, operations, allowed) in cases {
        for branch in [then(operations.clone()), else_(operations.clone())] {
            let answer = kv.txn(branch).await;
            if allowed {
                answer.unwrap_or_else(|error| panic!("{case}: {error}"));
            } else {
                refused(answer, DUPLICATE_KEY, case);
            }
        }
    }
}

#[tokio::test]
async fn compares_see_the_state_before_and_operations_what_came_before_them() {
    let server = Server::start(&[]);
    let mut kv = server.clients().await.kv;
    kv.put(put("b", "0")).await.unwrap();
    kv.put(put("a", "1")).await.unwrap();
    let nested = TxnRequest {
        // Before the transaction `a` is `1`, whatever it has become by the time this runs.
        compare: vec![compare(
            "a",
            CompareResult::Equal,
            TargetUnion::Value("1".into()),
        )],
        success: vec![range_op("a", "")],
        failure: vec![put_op("Wrong", "")],
    };
    let txn = then(vec![
        range_op("a", "z"),
        put_op("a", "2"),
        txn_op(nested),
        delete_op("b", "z"),
        range_op("a", "z"),
        read_at(3),
    ]);
    let answer = kv.txn(txn).await.unwrap().into_inner();
    assert_eq!(
        told(&answer.responses),
        [
            "range a=1 b=0 of 2",
            "put",
            "txn true [range a=2 of 1]",
            "deleted 1",
            "range a=2 of 1",
            "range a=1 of 1",
        ]
    );
    assert_eq!(answer.header.unwrap().revision, 4);
}

#[tokio::test]
async fn compares_of_missing_keys_and_ranges_follow_etcds_table() {
    use CompareResult::{Equal, Greater, Less, NotEqual};
    use TargetUnion::{CreateRevision, Lease, ModRevision, Value, Version};

    let server = Server::start(&[]);
    let mut kv = server.clients().await.kv;
    for (key, value) in [("a", "1"), ("b", "2"), ("b", "3")] {
        kv.put(put(key, value)).await.unwrap();
    }
    let on = |key: &str, end: &str, result, operand| Compare {
        range_end: end.to_owned().into(),
        ..compare(key, result, operand)
    };
    let cases = [
        (
            "missing value =",
            on("x", "", Equal, Value("".into())),
            false,
        ),
        (
            "missing value !=",
            on("x", "", NotEqual, Value("v".into())),
            false,
        ),
        (
            "missing value <",
            on("x", "", Less, Value("v".into())),
            false,
        ),
        ("missing version = 0", on("x", "", Equal, Version(0)), true),
        (
            "missing create < 1",
            on("x", "", Less, CreateRevision(1)),
            true,
        ),
        (
            "missing mod > -1",
            on("x", "", Greater, ModRevision(-1)),
            true,
        ),
        ("missing lease = 0", on("x", "", Equal, Lease(0)), true),
        ("value =", on("a", "", Equal, Value("1".into())), true),
        ("value <", on("a", "", Less, Value("11".into())), true),
        ("version", on("b", "", Equal, Version(2)), true),
        ("create", on("b", "", Equal, CreateRevision(3)), true),
        ("mod", on("b", "", Equal, ModRevision(4)), true),
        ("mod >", on("b", "", Greater, ModRevision(4)), false),
        ("lease !=", on("b", "", NotEqual, Lease(1)), true),
        ("all of a range", on("a", "c", Greater, Version(0)), true),
        ("not all of a range", on("a", "c", Equal, Version(1)), false),
        ("from key", on("a", "\0", Less, ModRevision(5)), true),
        (
            "everything",
            on("\0", "\0", NotEqual, Value("2".into())),
            true,
        ),
        (
            "an empty range, version",
            on("x", "z", Equal, Version(0)),
            true,
        ),
        (
            "an empty range, value",
            on("x", "z", NotEqual, Value("v".into())),
            false,
        ),
        ("a reversed range", on("z", "a", Equal, Version(0)), true),
    ];
    for (case, condition, expected) in cases {
        let txn = TxnRequest {
            compare: vec![condition],
            ..TxnRequest::default()
        };
        let answer = kv.txn(txn).await.unwrap().into_inner();
        assert_eq!(answer.succeeded, expected, "{case}");
    }
}

#[tokio::test]
async fn headers_carry_who_answers_outside_and_the_revision_alone_inside() {
    let server = Server::start(&[]);
    let mut clients = server.clients().await;
    let first = clients.kv.range(all()).await.unwrap().into_inner();
    let first = first.header.unwrap();
    assert_eq!(first.revision, 1, "a store starts at revision 1");
    assert!(first.member_id != 0 && first.cluster_id != 0 && first.raft_term != 0);
    let answer = clients.kv.put(put("a", "1")).await.unwrap().into_inner();
    let mut expected = first;
    expected.revision = 2;
    assert_eq!(answer.header.unwrap(), expected);
    let nothing_deleted = clients.kv.delete_range(delete("x", "")).await.unwrap();
    assert_eq!(nothing_deleted.into_inner().header.unwrap(), expected);
    let txn = then(vec![delete_op("x", ""), range_op("a", "")]);
    let answer = clients.kv.txn(txn).await.unwrap().into_inner();
    assert_eq!(answer.header.unwrap(), expected, "nothing changed");
    let txn = then(vec![
        range_op("a", ""),
        put_op("b", ""),
        delete_op("a", ""),
        txn_op(then(vec![put_op("c", "")])),
    ]);
    let answer = clients.kv.txn(txn).await.unwrap().into_inner();
    expected.revision = 3;
    assert_eq!(answer.header.unwrap(), expected);
    let inside: Vec<_> = answer
        .responses
        .iter()
        .map(|response| match response.response.as_ref().unwrap() {
            Response::ResponseRange(it) => it.header,
            Response::ResponsePut(it) => it.header,
            Response::ResponseDeleteRange(it) => it.header,
            Response::ResponseTxn(it) => it.header,
        })
        .map(|header| header.map(|it| (it.cluster_id, it.member_id, it.raft_term, it.revision)))
        .collect();
    assert_eq!(
        inside,
        [
            Some((0, 0, 0, 2)),
            Some((0, 0, 0, 3)),
            Some((0, 0, 0, 3)),
            Some((0, 0, 0, 0))
        ]
    );
    let request = cairn_proto::etcdserverpb::CompactionRequest {
        revision: 2,
        physical: true,
    };
    let answer = clients.kv.compact(request).await.unwrap().into_inner();
    assert_eq!(answer.header.unwrap(), expected);
}

#[tokio::test]
async fn puts_and_deletes_refuse_what_etcd_refuses_and_return_previous_values() {
    let server = Server::start(&[]);
    let mut kv = server.clients().await.kv;
    let with = |change: fn(&mut PutRequest)| {
        let mut request = put("k", "v");
        change(&mut request);
        request
    };
    let cases = [
        ("no key", with(|it| it.key.clear()), EMPTY_KEY),
        (
            "value kept and given",
            with(|it| it.ignore_value = true),
            (Code::InvalidArgument, "etcdserver: value is provided"),
        ),
        (
            "lease kept and given",
            with(|it| {
                it.ignore_lease = true;
                it.lease = 1;
            }),
            (Code::InvalidArgument, "etcdserver: lease is provided"),
        ),
        (
            "value of no key kept",
            with(|it| {
                it.ignore_value = true;
                it.value.clear();
            }),
            KEY_NOT_FOUND,
        ),
        (
            "lease of no key kept",
            with(|it| it.ignore_lease = true),
            KEY_NOT_FOUND,
        ),
        ("no such lease", with(|it| it.lease = 5), LEASE_NOT_FOUND),
    ];
    for (case, request, expected) in cases {
        refused(kv.put(request).await, expected, case);
    }
    refused(
        kv.delete_range(delete("", "z")).await,
        EMPTY_KEY,
        "delete without a key",
    );
    refused(
        kv.range(range("", "z")).await,
        EMPTY_KEY,
        "range without a key",
    );

    let with_previous = PutRequest {
        prev_kv: true,
        ..put("k", "1")
    };
    let answer = kv.put(with_previous.clone()).await.unwrap().into_inner();
    assert_eq!(answer.prev_kv, None);
    let kept = PutRequest {
        ignore_value: true,
        prev_kv: true,
        ..put("k", "")
    };
    let previous = kv.put(kept).await.unwrap().into_inner().prev_kv.unwrap();
    assert_eq!((previous.mod_revision, previous.version), (2, 1));
    let answer = kv.put(with_previous).await.unwrap().into_inner();
    let previous = answer.prev_kv.unwrap();
    assert_eq!(previous.value, "1");
    assert_eq!(
        (
            previous.create_revision,
            previous.mod_revision,
            previous.version
        ),
        (2, 3, 2)
    );
    kv.put(put("l", "2")).await.unwrap();
    let mut all_of_it = delete("\0", "\0");
    all_of_it.prev_kv = true;
    let answer = kv.delete_range(all_of_it).await.unwrap().into_inner();
    assert_eq!(answer.deleted, 2);
    assert_eq!(pairs(&answer.prev_kvs), ["k=1", "l=2"]);
    let answer = kv.put(put("k", "again")).await.unwrap().into_inner();
    assert_eq!(answer.header.unwrap().revision, 7);
    let state = kv.range(range("k", "")).await.unwrap().into_inner();
    assert_eq!((state.kvs[0].create_revision, state.kvs[0].version), (7, 1));
}
