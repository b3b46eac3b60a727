//! Bytes of the API and of log entries, as etcd's own Go packages write them.

use bytes::Bytes;
use cairn_proto::{
    authpb::{self, Permission, Role, User, UserAddOptions},
    etcdserverpb::{
        compare::{CompareResult, CompareTarget, TargetUnion},
        downgrade_request::DowngradeAction,
        range_request::{SortOrder, SortTarget},
        request_op::Request,
        response_op::Response,
        watch_create_request::FilterType,
        watch_request::RequestUnion,
        *,
    },
    membershippb::{Attributes, ClusterMemberAttrSetRequest, ClusterVersionSetRequest},
    mvccpb::{Event, KeyValue, event::EventType},
};
use prost::Message;

const GOLDEN: &str = include_str!("fixtures/golden.txt");

/// The bytes named so in the fixture.
fn golden(name: &str) -> Vec<u8> {
    let hex = GOLDEN
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))
        .unwrap_or_else(|| panic!("no golden bytes are named {name}"));
    (0..hex.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap())
        .collect()
}

/// Checks that the golden bytes mean `value`, and that `value` encodes to them.
pub(crate) fn check<M: Message + Default + PartialEq + std::fmt::Debug>(name: &str, value: &M) {
    let bytes = golden(name);
    assert_eq!(
        M::decode(bytes.as_slice()).unwrap(),
        *value,
        "{name} decodes"
    );
    assert_eq!(value.encode_to_vec(), bytes, "{name} encodes");
}

fn bytes(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}

fn header() -> Option<ResponseHeader> {
    Some(ResponseHeader {
        cluster_id: 14_841_639_068_965_178_418,
        member_id: 10_276_657_743_932_975_437,
        revision: 42,
        raft_term: 7,
    })
}

fn kv(key: &'static str) -> KeyValue {
    KeyValue {
        key: bytes(key),
        create_revision: 2,
        mod_revision: 300,
        version: 4,
        value: Bytes::from_static(b"v\x00\xff"),
        lease: 7_587_848_390_000_000_000,
    }
}

fn txn() -> TxnRequest {
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

#[test]
fn watch_requests() {
    let create = WatchCreateRequest {
        key: bytes("p/"),
        range_end: bytes("p0"),
        start_revision: 12,
        progress_notify: true,
        filters: vec![FilterType::Noput.into(), FilterType::Nodelete.into()],
        prev_kv: true,
        watch_id: 77,
        fragment: true,
    };
    let request = |union| WatchRequest {
        request_union: Some(union),
    };
    check(
        "watch_create",
        &request(RequestUnion::CreateRequest(create)),
    );
    let cancel = WatchCancelRequest { watch_id: 77 };
    check(
        "watch_cancel",
        &request(RequestUnion::CancelRequest(cancel)),
    );
    check(
        "watch_progress",
        &request(RequestUnion::ProgressRequest(WatchProgressRequest {})),
    );
}

#[test]
fn watch_responses() {
    let put = Event {
        r#type: 0,
        kv: Some(kv("p/1")),
        prev_kv: Some(kv("p/1")),
    };
    let deleted = KeyValue {
        key: bytes("p/2"),
        mod_revision: 43,
        ..KeyValue::default()
    };
    let delete = Event {
        r#type: EventType::Delete.into(),
        kv: Some(deleted),
        prev_kv: None,
    };
    check(
        "watch_response_events",
        &WatchResponse {
            header: header(),
            watch_id: 1,
            fragment: true,
            events: vec![put, delete],
            ..WatchResponse::default()
        },
    );
    check(
        "watch_response_canceled",
        &WatchResponse {
            header: header(),
            watch_id: -1,
            created: true,
            canceled: true,
            compact_revision: 8,
            cancel_reason: "mvcc: watcher range is empty".into(),
            ..WatchResponse::default()
        },
    );
}

#[test]
fn leases() {
    check("lease_grant", &LeaseGrantRequest { ttl: 60, id: -2 });
    let granted = LeaseGrantResponse {
        header: header(),
        id: 3,
        ttl: 60,
        error: "e".into(),
    };
    check("lease_grant_response", &granted);
    let keys = vec![bytes("a"), Bytes::new()];
    check(
        "lease_time_to_live_response",
        &LeaseTimeToLiveResponse {
            header: header(),
            id: 3,
            ttl: -1,
            granted_ttl: 60,
            keys,
        },
    );
    let checkpoints = vec![LeaseCheckpoint {
        id: 3,
        remaining_ttl: 30,
    }];
    check("lease_checkpoint", &LeaseCheckpointRequest { checkpoints });
    let leases = vec![LeaseStatus { id: 3 }, LeaseStatus { id: 0 }];
    check(
        "lease_leases_response",
        &LeaseLeasesResponse {
            header: header(),
            leases,
        },
    );
}

#[test]
fn cluster_and_maintenance() {
    let member = Member {
        id: 10_276_657_743_932_975_437,
        name: "default".into(),
        peer_urls: vec!["http://localhost:2380".into()],
        client_urls: vec!["http://localhost:2379".into(), "unix://x".into()],
        is_learner: true,
    };
    let members = MemberListResponse {
        header: header(),
        members: vec![member],
    };
    check("member_list_response", &members);
    check(
        "status_response",
        &StatusResponse {
            header: header(),
            version: "3.7.1".into(),
            db_size: 20_480,
            leader: 5,
            raft_index: 6,
            raft_term: 7,
            raft_applied_index: 6,
            errors: vec!["memberID:5 alarm:NOSPACE ".into()],
            db_size_in_use: 16_384,
            is_learner: true,
            storage_version: "3.7.0".into(),
            db_size_quota: 2_147_483_648,
            downgrade_info: Some(DowngradeInfo {
                enabled: true,
                target_version: "3.6.0".into(),
            }),
        },
    );
    let hash = HashKvResponse {
        header: header(),
        hash: u32::MAX,
        compact_revision: 1,
        hash_revision: 42,
    };
    check("hash_kv_response", &hash);
    let blob = bytes("\0\u{1}");
    let version = "3.7.0".into();
    check(
        "snapshot_response",
        &SnapshotResponse {
            header: header(),
            remaining_bytes: 32_768,
            blob,
            version,
        },
    );
    let corrupt = AlarmMember {
        member_id: 5,
        alarm: AlarmType::Corrupt.into(),
    };
    check(
        "alarm_response",
        &AlarmResponse {
            header: header(),
            alarms: vec![corrupt],
        },
    );
    let cancel = DowngradeRequest {
        action: DowngradeAction::Cancel.into(),
        version: "3.6".into(),
    };
    check("downgrade", &cancel);
}

#[test]
fn auth_requests_and_stored_rows() {
    let permission = |kind: authpb::permission::Type, key, range_end| Permission {
        perm_type: kind.into(),
        key: bytes(key),
        range_end: bytes(range_end),
    };
    use authpb::permission::Type::{Read, Readwrite, Write};
    check(
        "auth_user_add",
        &AuthUserAddRequest {
            name: "alice".into(),
            password: "p".into(),
            options: Some(UserAddOptions { no_password: true }),
            hashed_password: "h".into(),
        },
    );
    let perm = Some(permission(Readwrite, "a", "b"));
    let grant = AuthRoleGrantPermissionRequest {
        name: "r".into(),
        perm,
    };
    check("auth_role_grant_permission", &grant);
    let perm = vec![permission(Read, "a", ""), permission(Write, "b", "")];
    check(
        "auth_role_get_response",
        &AuthRoleGetResponse {
            header: header(),
            perm,
        },
    );
    check(
        "auth_stored_user",
        &User {
            name: bytes("root"),
            password: bytes("$2a$10$"),
            roles: vec!["root".into(), "r".into()],
            options: Some(UserAddOptions { no_password: false }),
        },
    );
    let role = Role {
        name: bytes("r"),
        key_permission: vec![permission(Read, "k", "")],
    };
    check("auth_stored_role", &role);
}

#[test]
fn entries_of_the_log() {
    let with_id = |id| InternalRaftRequest {
        header: Some(RequestHeader {
            id,
            ..RequestHeader::default()
        }),
        ..InternalRaftRequest::default()
    };
    let put = PutRequest {
        key: bytes("k"),
        value: bytes("v"),
        ..PutRequest::default()
    };
    let id = 7_587_848_390_000_000_001;
    check(
        "raft_put",
        &InternalRaftRequest {
            header: Some(RequestHeader {
                id,
                username: "alice".into(),
                auth_revision: 3,
            }),
            put: Some(put),
            ..InternalRaftRequest::default()
        },
    );
    check(
        "raft_txn",
        &InternalRaftRequest {
            txn: Some(txn()),
            ..with_id(8)
        },
    );
    let authenticate = InternalAuthenticateRequest {
        name: "alice".into(),
        password: String::new(),
        simple_token: "t".into(),
    };
    let authenticate = Some(authenticate);
    check(
        "raft_authenticate",
        &InternalRaftRequest {
            authenticate,
            ..with_id(9)
        },
    );
    let client_urls = vec!["http://localhost:2379".into()];
    let attributes = ClusterMemberAttrSetRequest {
        member_id: 5,
        member_attributes: Some(Attributes {
            name: "default".into(),
            client_urls,
        }),
    };
    let cluster_member_attr_set = Some(attributes);
    check(
        "raft_member_attributes",
        &InternalRaftRequest {
            cluster_member_attr_set,
            ..with_id(10)
        },
    );
    let cluster_version_set = Some(ClusterVersionSetRequest {
        ver: "3.7.0".into(),
    });
    let version = InternalRaftRequest {
        id: 11,
        cluster_version_set,
        ..InternalRaftRequest::default()
    };
    check("raft_cluster_version", &version);
}
