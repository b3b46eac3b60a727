//! Ranges with every option, and streams of ranges that equal them.

use cairn_proto::etcdserverpb::kv_client::KvClient;
use cairn_proto::etcdserverpb::range_request::{SortOrder, SortTarget};
use cairn_proto::etcdserverpb::{
    CompactionRequest, PutRequest, RangeRequest, RangeResponse, RequestOp,
};
use tonic::transport::Channel;
use tonic::{Code, Status};

use crate::harness::Server;
use crate::requests::*;

type Kv = KvClient<Channel>;

/// `a`..`e`: created at 2..6, then `b` written at 7, `a` at 8 and 9, `x` put and deleted at 10, 11.
async fn filled(kv: &mut Kv) {
    for (key, value) in [("a", "5"), ("b", "4"), ("c", "3"), ("d", "2"), ("e", "1")] {
        kv.put(put(key, value)).await.unwrap();
    }
    for (key, value) in [("b", "4b"), ("a", "5b"), ("a", "5c"), ("x", "")] {
        kv.put(put(key, value)).await.unwrap();
    }
    kv.delete_range(delete("x", "")).await.unwrap();
}

fn with(change: impl FnOnce(&mut RangeRequest)) -> RangeRequest {
    let mut request = range("a", "z");
    change(&mut request);
    request
}

fn sorted(order: SortOrder, target: SortTarget, limit: i64) -> RangeRequest {
    with(|it| {
        it.sort_order = order.into();
        it.sort_target = target.into();
        it.limit = limit;
    })
}

#[tokio::test]
async fn ranges_follow_etcds_table() {
    use SortOrder::{Ascend, Descend, None as Unsorted};
    use SortTarget::{Create, Key, Mod, Value, Version};

    let server = Server::start(&[]);
    let mut kv = server.clients().await.kv;
    filled(&mut kv).await;
    // The case, the request, keys, count, more.
    let cases = [
        ("one key", range("b", ""), "b", 1, false),
        ("no key", range("zz", ""), "", 0, false),
        ("a deleted key", range("x", ""), "", 0, false),
        ("a span", range("b", "d"), "bc", 2, false),
        ("an empty span", range("b", "b"), "", 0, false),
        ("a reversed span", range("d", "b"), "", 0, false),
        ("from key", range("d", "\0"), "de", 2, false),
        ("everything", range("\0", "\0"), "abcde", 5, false),
        ("limit", with(|it| it.limit = 2), "ab", 5, true),
        (
            "limit as large as the range",
            with(|it| it.limit = 5),
            "abcde",
            5,
            false,
        ),
        (
            "negative limit",
            with(|it| it.limit = -1),
            "abcde",
            5,
            false,
        ),
        (
            "an old revision",
            with(|it| it.revision = 4),
            "abc",
            3,
            false,
        ),
        (
            "an old revision with a limit",
            with(|it| {
                it.revision = 4;
                it.limit = 1;
            }),
            "a",
            3,
            true,
        ),
        (
            "a deleted key before",
            with(|it| {
                it.revision = 10;
                it.key = "x".into();
            }),
            "x",
            1,
            false,
        ),
        (
            "a negative revision",
            with(|it| it.revision = -5),
            "abcde",
            5,
            false,
        ),
        ("count only", with(|it| it.count_only = true), "", 5, false),
        (
            "count only ignores the limit",
            with(|it| {
                it.count_only = true;
                it.limit = 2;
            }),
            "",
            5,
            false,
        ),
        ("key descending", sorted(Descend, Key, 0), "edcba", 5, false),
        (
            "key descending, limit",
            sorted(Descend, Key, 2),
            "ed",
            5,
            true,
        ),
        (
            "key ascending, limit",
            sorted(Ascend, Key, 2),
            "ab",
            5,
            true,
        ),
        (
            "value ascending",
            sorted(Ascend, Value, 0),
            "edcba",
            5,
            false,
        ),
        (
            "value descending, limit",
            sorted(Descend, Value, 1),
            "a",
            5,
            true,
        ),
        (
            "value without an order",
            sorted(Unsorted, Value, 0),
            "edcba",
            5,
            false,
        ),
        (
            "value without an order, limit first",
            sorted(Unsorted, Value, 2),
            "cb",
            5,
            true,
        ),
        ("mod ascending", sorted(Ascend, Mod, 0), "cdeba", 5, false),
        (
            "mod descending, limit",
            sorted(Descend, Mod, 2),
            "ab",
            5,
            true,
        ),
        (
            "create descending",
            sorted(Descend, Create, 0),
            "edcba",
            5,
            false,
        ),
        (
            "version ascending",
            sorted(Ascend, Version, 0),
            "cdeba",
            5,
            false,
        ),
        (
            "version descending, limit",
            sorted(Descend, Version, 1),
            "a",
            5,
            true,
        ),
        (
            "min mod",
            with(|it| it.min_mod_revision = 6),
            "abe",
            5,
            false,
        ),
        (
            "max mod",
            with(|it| it.max_mod_revision = 6),
            "cde",
            5,
            false,
        ),
        (
            "min mod, limit after the filter",
            with(|it| {
                it.min_mod_revision = 6;
                it.limit = 2;
            }),
            "ab",
            5,
            true,
        ),
        (
            "min and max create",
            with(|it| {
                it.min_create_revision = 3;
                it.max_create_revision = 4;
            }),
            "bc",
            5,
            false,
        ),
        (
            "no key passes",
            with(|it| it.min_create_revision = 50),
            "",
            5,
            false,
        ),
    ];
    for (case, request, expected, count, more) in cases {
        for serializable in [false, true] {
            let request = RangeRequest {
                serializable,
                ..request.clone()
            };
            let answer = kv.range(request).await.unwrap().into_inner();
            assert_eq!(keys(&answer.kvs).concat(), expected, "{case}");
            assert_eq!((answer.count, answer.more), (count, more), "{case}");
            assert_eq!(answer.header.unwrap().revision, 11, "{case}");
        }
    }
}

#[tokio::test]
async fn keys_only_leaves_values_out_and_revisions_in() {
    let server = Server::start(&[]);
    let mut kv = server.clients().await.kv;
    filled(&mut kv).await;
    let request = with(|it| {
        it.keys_only = true;
        it.limit = 1;
    });
    let answer = kv.range(request).await.unwrap().into_inner();
    let kv = &answer.kvs[0];
    assert_eq!((kv.key.as_ref(), kv.value.as_ref()), (&b"a"[..], &b""[..]));
    assert_eq!((kv.create_revision, kv.mod_revision, kv.version), (2, 9, 3));
}

#[tokio::test]
async fn impossible_ranges_are_refused_with_etcds_words() {
    let server = Server::start(&[]);
    let mut kv = server.clients().await.kv;
    filled(&mut kv).await;
    let sort = (Code::InvalidArgument, "etcdserver: invalid sort option");
    kv.compact(CompactionRequest {
        revision: 5,
        physical: true,
    })
    .await
    .unwrap();
    let cases = [
        ("no key", range("", ""), EMPTY_KEY),
        ("no key, but an end", range("", "\0"), EMPTY_KEY),
        ("unknown order", with(|it| it.sort_order = 3), sort),
        ("unknown target", with(|it| it.sort_target = 5), sort),
        ("compacted", with(|it| it.revision = 4), COMPACTED),
        (
            "compacted, one key",
            with(|it| {
                it.revision = 4;
                it.range_end.clear();
            }),
            COMPACTED,
        ),
        (
            "compacted, count only",
            with(|it| {
                it.revision = 4;
                it.count_only = true;
            }),
            COMPACTED,
        ),
        (
            "compacted, an empty span",
            with(|it| {
                it.revision = 4;
                it.range_end = "a".into();
            }),
            COMPACTED,
        ),
        ("future", with(|it| it.revision = 12), FUTURE),
        ("far future", with(|it| it.revision = i64::MAX), FUTURE),
    ];
    for (case, request, expected) in cases {
        refused(kv.range(request.clone()).await, expected, case);
        let streamed = streamed(&mut kv, request).await.unwrap_err();
        assert_eq!(error(&streamed), expected, "{case}, as a stream");
    }
    let answer = kv
        .range(with(|it| it.revision = 5))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(
        keys(&answer.kvs).concat(),
        "abcd",
        "at the compacted revision"
    );
}

/// The chunks of a stream, merged.
async fn streamed(kv: &mut Kv, request: RangeRequest) -> Result<RangeResponse, Status> {
    let mut stream = kv.range_stream(request).await?.into_inner();
    let mut merged = RangeResponse::default();
    let mut chunks = 0;
    while let Some(chunk) = stream.message().await? {
        let chunk = chunk
            .range_response
            .expect("each chunk is part of an answer");
        assert!(merged.header.is_none(), "only the last chunk has a header");
        if chunks == 0 {
            assert!(chunk.kvs.len() <= 10, "the first chunk is small");
        }
        chunks += 1;
        merged.kvs.extend(chunk.kvs);
        merged.header = chunk.header;
        merged.count = chunk.count;
        merged.more = chunk.more;
    }
    Ok(merged)
}

#[tokio::test]
async fn streamed_chunks_merge_into_what_a_range_answers() {
    let server = Server::start(&[]);
    let mut kv = server.clients().await.kv;
    filled(&mut kv).await;
    for first in 0..30 {
        let puts = (0..100).map(|n| put_op(&format!("k{first:02}{n:02}"), "some value"));
        let puts: Vec<RequestOp> = puts.collect();
        kv.txn(then(puts)).await.unwrap();
    }
    let many = |change: fn(&mut RangeRequest)| {
        let mut request = all();
        change(&mut request);
        request
    };
    let cases = [
        ("everything", all()),
        ("one key", range("b", "")),
        ("nothing", range("zz", "")),
        ("reversed", range("k", "a")),
        ("exactly the first chunk", range("k0000", "k0010")),
        ("one more", range("k0000", "k0011")),
        ("limit", many(|it| it.limit = 1234)),
        ("limit of a chunk", many(|it| it.limit = 10)),
        ("old revision", many(|it| it.revision = 20)),
        ("keys only", many(|it| it.keys_only = true)),
        ("count only", many(|it| it.count_only = true)),
        // etcd sorts each chunk by itself, and may break off after the first.
        (
            "by value, in no order",
            many(|it| it.sort_target = SortTarget::Value.into()),
        ),
        (
            "by creation, in no order",
            many(|it| it.sort_target = SortTarget::Create.into()),
        ),
        (
            "by change, in no order and limited",
            many(|it| {
                it.sort_target = SortTarget::Mod.into();
                it.limit = 1234;
            }),
        ),
        ("serializable", many(|it| it.serializable = true)),
        (
            "ascending keys",
            many(|it| it.sort_order = SortOrder::Ascend.into()),
        ),
    ];
    for (case, request) in cases {
        let whole = kv.range(request.clone()).await.unwrap().into_inner();
        let merged = streamed(&mut kv, request).await.unwrap();
        assert_eq!(merged, whole, "{case}");
    }
}

#[tokio::test]
async fn streams_refuse_orders_and_filters() {
    let server = Server::start(&[]);
    let mut kv = server.clients().await.kv;
    let orders = "RangeStream does not support custom sort orders";
    let filters = "RangeStream does not support revision filters";
    let cases = [
        (sorted(SortOrder::Descend, SortTarget::Key, 0), orders),
        (sorted(SortOrder::Ascend, SortTarget::Mod, 0), orders),
        (with(|it| it.min_mod_revision = 1), filters),
        (with(|it| it.max_mod_revision = 1), filters),
        (with(|it| it.min_create_revision = 1), filters),
        (with(|it| it.max_create_revision = 1), filters),
    ];
    for (request, text) in cases {
        let refusal = streamed(&mut kv, request).await.unwrap_err();
        assert_eq!(error(&refusal), (Code::Unimplemented, text));
    }
}

#[tokio::test]
async fn a_stream_stays_at_its_revision_and_a_compaction_over_it_ends_it() {
    let server = Server::start(&[]);
    let mut kv = server.clients().await.kv;
    let value = "v".repeat(1000);
    for batch in 0..300 {
        let puts = (0..100).map(|n| put_op(&format!("k{batch:03}{n:02}"), &value));
        kv.txn(then(puts.collect())).await.unwrap();
    }
    let mut written_during = kv.range_stream(all()).await.unwrap().into_inner();
    let mut overtaken = kv.range_stream(all()).await.unwrap().into_inner();
    written_during.message().await.unwrap().unwrap();
    overtaken.message().await.unwrap().unwrap();
    let last = kv
        .put(PutRequest {
            prev_kv: true,
            ..put("k29999", "changed")
        })
        .await
        .unwrap()
        .into_inner();
    let (mut kvs, mut end) = (10, None);
    while let Some(chunk) = written_during.message().await.unwrap() {
        let chunk = chunk.range_response.unwrap();
        kvs += chunk.kvs.len();
        assert!(
            chunk.kvs.iter().all(|kv| kv.value == value),
            "a later write shows"
        );
        end = chunk.header;
    }
    assert_eq!((kvs, end.unwrap().revision), (30_000, 301));
    kv.compact(CompactionRequest {
        revision: last.header.unwrap().revision,
        physical: true,
    })
    .await
    .unwrap();
    let ending = loop {
        match overtaken.message().await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("the stream went on over a compaction"),
            Err(status) => break status,
        }
    };
    assert_eq!(error(&ending), COMPACTED);
}
