//! Who may call what: every method, every kind of range, everybody.
//!
//! The expectations are etcd's: the tests hold for it as well.

use cairn_proto::etcdserverpb::request_op::Request as Operation;
use cairn_proto::etcdserverpb::{
    AlarmRequest, AuthDisableRequest, AuthEnableRequest, AuthRoleAddRequest, AuthRoleDeleteRequest,
    AuthRoleGetRequest, AuthRoleGrantPermissionRequest, AuthRoleListRequest,
    AuthRoleRevokePermissionRequest, AuthStatusRequest, AuthUserAddRequest,
    AuthUserChangePasswordRequest, AuthUserDeleteRequest, AuthUserGetRequest,
    AuthUserGrantRoleRequest, AuthUserListRequest, AuthUserRevokeRoleRequest, CompactionRequest,
    Compare, DefragmentRequest, DeleteRangeRequest, DowngradeRequest, HashKvRequest, HashRequest,
    LeaseGrantRequest, LeaseKeepAliveRequest, LeaseLeasesRequest, LeaseRevokeRequest,
    LeaseTimeToLiveRequest, MemberAddRequest, MemberListRequest, MemberPromoteRequest,
    MemberRemoveRequest, MemberUpdateRequest, MoveLeaderRequest, PutRequest, RangeRequest,
    SnapshotRequest, StatusRequest, TxnRequest, WatchCreateRequest,
};
use cairn_proto::v3electionpb::LeaderRequest;
use cairn_proto::v3lockpb::UnlockRequest;
use tonic::Code;

use crate::auth_calls::*;
use crate::cluster_harness::Cluster;
use crate::harness::{Clients, Server};
use crate::requests::*;

/// Everybody, in the order of the tables' letters: while authentication is off nobody, then nobody,
/// a user without a role, one that may read, one that may write, and root.
const USERS: [&str; 4] = ["norole", "reader", "writer", "root"];

/// Ranges, and whether reader and writer have their permissions on them.
const RANGES: &[(&str, &str, &str, bool)] = &[
    ("a key", "k", "", true),
    ("a range", "b", "d", true),
    ("a part of a range", "bb", "c", true),
    ("a prefix", "p/", "p0", true),
    ("from a key on", "x", "\0", true),
    ("from a later key on", "y", "\0", true),
    ("a range at the open end", "x", "zz", true),
    ("ranges that touch", "m", "o", true),
    ("another key", "j", "", false),
    ("a key's neighbour", "k\0", "", false),
    ("from a permitted key on", "k", "\0", false),
    ("more than a range", "b", "e", false),
    ("from a range's first key on", "b", "\0", false),
    ("a range with a gap", "k", "q", false),
    ("less than the open end", "w", "\0", false),
    ("everything", "\0", "\0", false),
];

/// What both users' roles are about, each with its own type of permission.
const GRANTED: &[(&str, &str)] = &[
    ("k", ""),
    ("b", "d"),
    ("p/", "p0"),
    ("x", "\0"),
    ("m", "n"),
    ("n", "o"),
];

const READS: &str = "+ed+d+";
const WRITES: &str = "+edd++";
const ROOT_ONLY: &str = "+eddd+";
const SOMEBODY: &str = "+e++++";
const EVERYBODY: &str = "++++++";

fn bytes(text: &str) -> bytes::Bytes {
    text.to_owned().into()
}

pub(crate) fn nested(operation: Operation) -> TxnRequest {
    let inner = TxnRequest {
        failure: vec![op(operation)],
        ..TxnRequest::default()
    };
    TxnRequest {
        success: vec![op(Operation::RequestTxn(inner))],
        ..TxnRequest::default()
    }
}

fn compared(key: &str, range_end: &str) -> TxnRequest {
    let compare = Compare {
        key: bytes(key),
        range_end: bytes(range_end),
        ..Compare::default()
    };
    TxnRequest {
        compare: vec![compare],
        ..TxnRequest::default()
    }
}

/// A call, what is special about it, and for whom it is.
type Row = (Call, &'static str, &'static str);

fn txn(txn: &TxnRequest) -> Call {
    Call::new("/etcdserverpb.KV/Txn", txn)
}

/// Methods that put a key.
fn puts(key: &str) -> Vec<Row> {
    let put = PutRequest {
        key: bytes(key),
        ..PutRequest::default()
    };
    let put_and_read = PutRequest {
        prev_kv: true,
        ..put.clone()
    };
    let operation = Operation::RequestPut;
    let path = "/etcdserverpb.KV/Put";
    vec![
        (Call::new(path, &put), "", WRITES),
        (Call::new(path, &put_and_read), "prev_kv", ROOT_ONLY),
        (txn(&then(vec![op(operation(put.clone()))])), "put", WRITES),
        (txn(&nested(operation(put))), "nested put", WRITES),
        (
            txn(&nested(operation(put_and_read))),
            "nested put, prev_kv",
            ROOT_ONLY,
        ),
    ]
}

/// Methods that read a range, write it, or do both.
fn ranged(key: &str, range_end: &str) -> Vec<Row> {
    let range = RangeRequest {
        key: bytes(key),
        range_end: bytes(range_end),
        ..RangeRequest::default()
    };
    let counted = RangeRequest {
        count_only: true,
        serializable: true,
        ..range.clone()
    };
    let delete = DeleteRangeRequest {
        key: bytes(key),
        range_end: bytes(range_end),
        prev_kv: false,
    };
    let delete_and_read = DeleteRangeRequest {
        prev_kv: true,
        ..delete.clone()
    };
    let read = Operation::RequestRange(range.clone());
    let written = Operation::RequestDeleteRange(delete.clone());
    let both = Operation::RequestDeleteRange(delete_and_read.clone());
    let mut calls = vec![
        (Call::new("/etcdserverpb.KV/Range", &range), "", READS),
        (
            Call::new("/etcdserverpb.KV/Range", &counted),
            "counted",
            READS,
        ),
        (Call::new("/etcdserverpb.KV/RangeStream", &range), "", READS),
        (txn(&then(vec![op(read.clone())])), "range", READS),
        (txn(&nested(read)), "nested range", READS),
        (txn(&compared(key, range_end)), "compare", READS),
        (
            txn(&nested(Operation::RequestTxn(compared(key, range_end)))),
            "nested compare",
            READS,
        ),
        (
            Call::new("/etcdserverpb.KV/DeleteRange", &delete),
            "",
            WRITES,
        ),
        (
            Call::new("/etcdserverpb.KV/DeleteRange", &delete_and_read),
            "prev_kv",
            ROOT_ONLY,
        ),
        (txn(&then(vec![op(written.clone())])), "delete", WRITES),
        (txn(&nested(written)), "nested delete", WRITES),
        (txn(&nested(both)), "nested delete, prev_kv", ROOT_ONLY),
    ];
    if range_end.is_empty() {
        calls.extend(puts(key));
    }
    calls
}

/// Methods without a range. None of them does what it asks for, whoever asks: users, roles and members
/// of these names are not there.
fn others() -> Vec<Row> {
    let mut rows = of_members();
    rows.extend(of_maintenance());
    rows.extend(of_leases());
    rows.extend(of_users());
    rows.extend(of_roles());
    rows
}

fn admin(path: &'static str, message: &impl prost::Message) -> Row {
    (Call::new(path, message), "", ROOT_ONLY)
}

fn name() -> String {
    "not there".to_owned()
}

fn of_members() -> Vec<Row> {
    vec![
        admin(
            "/etcdserverpb.KV/Compact",
            &CompactionRequest {
                revision: 1 << 40,
                physical: false,
            },
        ),
        (
            Call::new(
                "/etcdserverpb.Cluster/MemberList",
                &MemberListRequest::default(),
            ),
            "",
            SOMEBODY,
        ),
        (
            Call::new(
                "/etcdserverpb.Cluster/MemberList",
                &MemberListRequest { linearizable: true },
            ),
            "linearizable",
            SOMEBODY,
        ),
        admin(
            "/etcdserverpb.Cluster/MemberAdd",
            &MemberAddRequest {
                peer_urls: vec!["http://127.0.0.1:9".to_owned()],
                is_learner: true,
            },
        ),
        admin(
            "/etcdserverpb.Cluster/MemberRemove",
            &MemberRemoveRequest { id: 5 },
        ),
        admin(
            "/etcdserverpb.Cluster/MemberUpdate",
            &MemberUpdateRequest {
                id: 5,
                peer_urls: vec!["http://127.0.0.1:10".to_owned()],
            },
        ),
        admin(
            "/etcdserverpb.Cluster/MemberPromote",
            &MemberPromoteRequest { id: 5 },
        ),
    ]
}

fn of_maintenance() -> Vec<Row> {
    let alarm = |action| AlarmRequest {
        action,
        ..AlarmRequest::default()
    };
    vec![
        (
            Call::new("/etcdserverpb.Maintenance/Alarm", &alarm(0)),
            "get",
            SOMEBODY,
        ),
        (
            Call::new("/etcdserverpb.Maintenance/Alarm", &alarm(1)),
            "raise",
            ROOT_ONLY,
        ),
        (
            Call::new("/etcdserverpb.Maintenance/Alarm", &alarm(2)),
            "end",
            ROOT_ONLY,
        ),
        (
            Call::new("/etcdserverpb.Maintenance/Status", &StatusRequest {}),
            "",
            SOMEBODY,
        ),
        admin(
            "/etcdserverpb.Maintenance/Defragment",
            &DefragmentRequest {},
        ),
        admin("/etcdserverpb.Maintenance/Hash", &HashRequest {}),
        admin(
            "/etcdserverpb.Maintenance/HashKV",
            &HashKvRequest::default(),
        ),
        admin("/etcdserverpb.Maintenance/Snapshot", &SnapshotRequest {}),
        admin(
            "/etcdserverpb.Maintenance/MoveLeader",
            &MoveLeaderRequest { target_id: 5 },
        ),
        admin(
            "/etcdserverpb.Maintenance/Downgrade",
            &DowngradeRequest::default(),
        ),
    ]
}

fn of_leases() -> Vec<Row> {
    vec![
        (
            Call::new(
                "/etcdserverpb.Lease/LeaseGrant",
                &LeaseGrantRequest { ttl: 600, id: 0 },
            ),
            "",
            SOMEBODY,
        ),
        (
            Call::new(
                "/etcdserverpb.Lease/LeaseRevoke",
                &LeaseRevokeRequest { id: 5 },
            ),
            "",
            SOMEBODY,
        ),
        (
            Call::new(
                "/etcdserverpb.Lease/LeaseKeepAlive",
                &LeaseKeepAliveRequest { id: 5 },
            ),
            "",
            SOMEBODY,
        ),
        (
            Call::new(
                "/etcdserverpb.Lease/LeaseTimeToLive",
                &LeaseTimeToLiveRequest { id: 5, keys: true },
            ),
            "",
            SOMEBODY,
        ),
        (
            Call::new("/etcdserverpb.Lease/LeaseLeases", &LeaseLeasesRequest {}),
            "",
            SOMEBODY,
        ),
        admin("/v3lockpb.Lock/Unlock", &UnlockRequest { key: bytes("o") }),
        admin(
            "/v3electionpb.Election/Leader",
            &LeaderRequest { name: bytes("o") },
        ),
    ]
}

fn of_users() -> Vec<Row> {
    vec![
        (
            Call::new("/etcdserverpb.Auth/AuthStatus", &AuthStatusRequest {}),
            "",
            EVERYBODY,
        ),
        admin("/etcdserverpb.Auth/AuthEnable", &AuthEnableRequest {}),
        admin(
            "/etcdserverpb.Auth/UserAdd",
            &AuthUserAddRequest {
                // The user is there as soon as authentication is on.
                name: "root".to_owned(),
                options: Some(cairn_proto::authpb::UserAddOptions { no_password: true }),
                ..AuthUserAddRequest::default()
            },
        ),
        admin(
            "/etcdserverpb.Auth/UserGet",
            &AuthUserGetRequest { name: name() },
        ),
        admin("/etcdserverpb.Auth/UserList", &AuthUserListRequest {}),
        admin(
            "/etcdserverpb.Auth/UserDelete",
            &AuthUserDeleteRequest { name: name() },
        ),
        admin(
            "/etcdserverpb.Auth/UserChangePassword",
            &AuthUserChangePasswordRequest {
                name: name(),
                password: "pw".to_owned(),
                ..AuthUserChangePasswordRequest::default()
            },
        ),
        admin(
            "/etcdserverpb.Auth/UserGrantRole",
            &AuthUserGrantRoleRequest {
                user: name(),
                role: name(),
            },
        ),
        admin(
            "/etcdserverpb.Auth/UserRevokeRole",
            &AuthUserRevokeRoleRequest {
                name: name(),
                role: name(),
            },
        ),
    ]
}

fn of_roles() -> Vec<Row> {
    vec![
        admin("/etcdserverpb.Auth/RoleAdd", &AuthRoleAddRequest::default()),
        admin(
            "/etcdserverpb.Auth/RoleGet",
            &AuthRoleGetRequest { role: name() },
        ),
        admin("/etcdserverpb.Auth/RoleList", &AuthRoleListRequest {}),
        admin(
            "/etcdserverpb.Auth/RoleDelete",
            &AuthRoleDeleteRequest { role: name() },
        ),
        admin(
            "/etcdserverpb.Auth/RoleGrantPermission",
            &AuthRoleGrantPermissionRequest {
                name: name(),
                perm: None,
            },
        ),
        admin(
            "/etcdserverpb.Auth/RoleRevokePermission",
            &AuthRoleRevokePermissionRequest {
                role: name(),
                ..AuthRoleRevokePermissionRequest::default()
            },
        ),
    ]
}

/// Everybody but whoever calls while authentication is off, with their tokens.
pub(crate) async fn rules(clients: &Clients) -> Vec<Option<String>> {
    let mut admin = Admin::new(clients);
    for (role, perm_type) in [("reads", 0), ("writes", 1)] {
        admin.add_role(role).await;
        for (key, range_end) in GRANTED {
            admin.grant(role, perm_type, key, range_end).await;
        }
    }
    for user in ["norole", "reader", "writer"] {
        admin.add_user(user).await;
    }
    admin.grant_role("reader", "reads").await;
    admin.grant_role("writer", "writes").await;
    admin.enable().await;
    let mut tokens = vec![None];
    for user in USERS {
        tokens.push(Some(admin.log_in(user).await));
    }
    tokens
}

fn watched(key: &str, range_end: &str) -> WatchCreateRequest {
    WatchCreateRequest {
        key: bytes(key),
        range_end: bytes(range_end),
        ..WatchCreateRequest::default()
    }
}

/// Verdicts on all calls by one caller; where the caller is at `at` in the tables.
async fn check(clients: &Clients, token: Option<&str>, at: usize, wrong: &mut Vec<String>) {
    let mut compare = |what: String, expected: &str, verdict: Verdict| {
        let expected = expected.chars().nth(at).unwrap();
        if verdict.letter() != expected {
            wrong.push(format!(
                "{what}, caller {at}: {verdict:?}, not {expected:?}"
            ));
        }
    };
    for (kind, key, range_end, granted) in RANGES {
        let expected = |letters| if *granted { letters } else { ROOT_ONLY };
        for (call, what, letters) in ranged(key, range_end) {
            let verdict = call.verdict(clients, token).await;
            let what = format!("{} {what} of {kind}", call.path);
            compare(what, expected(letters), verdict);
        }
        let verdict = watch_verdict(clients, watched(key, range_end), token).await;
        compare(format!("Watch of {kind}"), expected(READS), verdict);
    }
    for (call, what, letters) in others() {
        let verdict = call.verdict(clients, token).await;
        compare(format!("{} {what}", call.path), letters, verdict);
    }
}

#[tokio::test]
async fn every_method_on_every_kind_of_range_is_for_those_whom_etcd_lets() {
    let server = Server::start(&["--bcrypt-cost=4"]);
    let clients = server.clients().await;
    let mut wrong = Vec::new();
    check(&clients, None, 0, &mut wrong).await;
    // What this left behind would be in the way of the users of the same names.
    let delete = AuthUserDeleteRequest {
        name: "root".to_owned(),
    };
    let mut admin = Admin::new(&clients);
    admin.auth.user_delete(delete).await.unwrap();
    let tokens = rules(&clients).await;
    for (at, token) in tokens.iter().enumerate() {
        check(&clients, token.as_deref(), at + 1, &mut wrong).await;
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn users_see_themselves_and_their_roles_and_no_others() {
    let server = Server::start(&["--bcrypt-cost=4"]);
    let clients = server.clients().await;
    let tokens = rules(&clients).await;
    let reader = tokens[2].as_deref();
    let user = |name: &str| {
        let name = name.to_owned();
        Call::new("/etcdserverpb.Auth/UserGet", &AuthUserGetRequest { name })
    };
    let role = |role: &str| {
        let role = role.to_owned();
        Call::new("/etcdserverpb.Auth/RoleGet", &AuthRoleGetRequest { role })
    };
    for (call, expected) in [
        (user("reader"), Verdict::Allowed),
        (user("writer"), Verdict::Denied),
        (role("reads"), Verdict::Allowed),
        (role("writes"), Verdict::Denied),
    ] {
        assert_eq!(call.verdict(&clients, reader).await, expected, "{call:?}");
    }
}

#[tokio::test]
async fn a_token_is_taken_from_either_header_with_or_without_bearer_and_nothing_else_is_one() {
    let server = Server::start(&["--bcrypt-cost=4"]);
    let clients = server.clients().await;
    let tokens = rules(&clients).await;
    let reader = tokens[2].clone().unwrap();
    let mut kv = clients.kv.clone();
    let bearer = format!("Bearer {reader}");
    for (name, value) in [
        ("token", &reader),
        ("token", &bearer),
        ("authorization", &reader),
        ("authorization", &bearer),
    ] {
        let mut request = tonic::Request::new(range("k", ""));
        request.metadata_mut().insert(name, value.parse().unwrap());
        kv.range(request).await.unwrap();
    }
    let invalid = (Code::Unauthenticated, "etcdserver: invalid auth token");
    let index = reader.split_once('.').unwrap().1;
    let unknown = format!("abcdefghijklmnop.{index}");
    for token in ["", "x", "a.b.c", "abc.-1", &unknown, "bearer x.1"] {
        let answer = kv.range(with_token(range("k", ""), Some(token))).await;
        refused(answer, invalid, token);
        let answer = kv.put(with_token(put("k", ""), Some(token))).await;
        refused(answer, invalid, token);
        let reason = watch(&clients, watched("k", ""), Some(token)).await;
        let expected = "rpc error: code = Unauthenticated desc = etcdserver: invalid auth token";
        assert_eq!(reason, Err(expected.to_owned()), "{token}");
    }
}

#[tokio::test]
async fn a_login_needs_the_right_password_of_a_user_that_has_one() {
    let server = Server::start(&["--bcrypt-cost=4"]);
    let clients = server.clients().await;
    let mut admin = Admin::new(&clients);
    admin.add_user("u").await;
    let certified = AuthUserAddRequest {
        name: "certified".to_owned(),
        options: Some(cairn_proto::authpb::UserAddOptions { no_password: true }),
        ..AuthUserAddRequest::default()
    };
    admin.auth.user_add(certified).await.unwrap();
    let off = admin.try_log_in("u", "u").await.unwrap_err();
    let not_enabled = "etcdserver: authentication is not enabled";
    assert_eq!(error(&off), (Code::FailedPrecondition, not_enabled));
    admin.enable().await;
    let failed = "etcdserver: authentication failed, invalid user ID or password";
    let failed = (Code::InvalidArgument, failed);
    let no_password = "auth: authentication failed, password was given for no password user";
    for (name, password, expected) in [
        ("u", "v", failed),
        ("u", "", failed),
        ("nobody", "u", failed),
        ("", "", failed),
        ("certified", "", (Code::Unknown, no_password)),
        ("certified", "certified", (Code::Unknown, no_password)),
    ] {
        let refused = admin.try_log_in(name, password).await.unwrap_err();
        assert_eq!(error(&refused), expected, "{name:?} {password:?}");
    }
    assert_ne!(admin.log_in("u").await, admin.log_in("u").await);
}

#[tokio::test]
async fn tokens_end_with_the_password_and_survive_other_changes_of_the_rules() {
    let server = Server::start(&["--bcrypt-cost=4"]);
    let clients = server.clients().await;
    let tokens = rules(&clients).await;
    let (reader, root) = (tokens[2].clone(), tokens[4].clone());
    let mut admin = Admin::new(&clients);
    admin.token = root;
    let read = Call::new("/etcdserverpb.KV/Range", &range("k", ""));
    admin.add_role("unrelated").await;
    assert_eq!(
        read.verdict(&clients, reader.as_deref()).await,
        Verdict::Allowed
    );
    let change = admin.request(AuthUserChangePasswordRequest {
        name: "reader".to_owned(),
        password: "new".to_owned(),
        ..AuthUserChangePasswordRequest::default()
    });
    admin.auth.user_change_password(change).await.unwrap();
    assert_eq!(
        read.verdict(&clients, reader.as_deref()).await,
        Verdict::BadToken
    );
    assert!(admin.try_log_in("reader", "reader").await.is_err());
    let reader = admin.try_log_in("reader", "new").await.unwrap();
    assert_eq!(
        read.verdict(&clients, Some(&reader)).await,
        Verdict::Allowed
    );
    let disable = admin.request(AuthDisableRequest {});
    admin.auth.auth_disable(disable).await.unwrap();
    // Nobody looks at tokens now.
    assert_eq!(read.verdict(&clients, Some("x")).await, Verdict::Allowed);
    admin.auth.auth_enable(AuthEnableRequest {}).await.unwrap();
    assert_eq!(
        read.verdict(&clients, Some(&reader)).await,
        Verdict::BadToken
    );
}

#[tokio::test]
async fn rules_are_the_same_after_a_crash_and_a_password_is_nowhere() {
    let server = Server::start(&["--bcrypt-cost=4", "--log-level=debug"]);
    let clients = server.clients().await;
    let password = "correct-horse-battery-staple";
    let mut admin = Admin::new(&clients);
    let add = AuthUserAddRequest {
        name: "u".to_owned(),
        password: password.to_owned(),
        ..AuthUserAddRequest::default()
    };
    admin.auth.user_add(add).await.unwrap();
    admin.enable().await;
    admin.try_log_in("u", password).await.unwrap();
    assert!(!server.log().contains(password));
    let place = server.kill();
    for file in files_below(&place.data_dir()) {
        let content = std::fs::read(&file).unwrap();
        let found = content
            .windows(password.len())
            .any(|it| it == password.as_bytes());
        assert!(!found, "{}", file.display());
    }
    let server = place.start();
    let clients = server.clients().await;
    let admin = Admin::new(&clients);
    let read = Call::new("/etcdserverpb.KV/Range", &range("k", ""));
    assert_eq!(read.verdict(&clients, None).await, Verdict::Empty);
    let token = admin.try_log_in("u", password).await.unwrap();
    assert_eq!(read.verdict(&clients, Some(&token)).await, Verdict::Denied);
    let root = admin.log_in("root").await;
    assert_eq!(read.verdict(&clients, Some(&root)).await, Verdict::Allowed);
}

fn files_below(directory: &std::path::Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(directory).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    paths
        .flat_map(|path| {
            if path.is_dir() {
                files_below(&path)
            } else {
                vec![path]
            }
        })
        .collect()
}

#[tokio::test]
async fn health_is_told_while_authentication_is_on() {
    let server = Server::start(&["--bcrypt-cost=4"]);
    let clients = server.clients().await;
    rules(&clients).await;
    let mut health = cairn_proto::health::health_client::HealthClient::new(clients.channel.clone());
    let check = cairn_proto::health::HealthCheckRequest::default();
    health.check(check).await.unwrap();
}

#[tokio::test]
async fn a_token_is_good_at_every_member_and_rules_hold_at_each() {
    let mut cluster = Cluster::start(3, &["--bcrypt-cost=4"]);
    let everyone = cluster.running();
    let leader = cluster.leader(&everyone).await;
    let follower = everyone.iter().copied().find(|it| *it != leader).unwrap();
    let tokens = rules(&cluster.clients(follower).await).await;
    let read = Call::new("/etcdserverpb.KV/Range", &range("k", ""));
    let write = Call::new("/etcdserverpb.KV/Put", &put("k", "1"));
    for number in everyone {
        let clients = cluster.clients(number).await;
        for (token, expected) in tokens.iter().zip([
            [Verdict::Empty, Verdict::Empty],
            [Verdict::Denied, Verdict::Denied],
            [Verdict::Allowed, Verdict::Denied],
            [Verdict::Denied, Verdict::Allowed],
            [Verdict::Allowed, Verdict::Allowed],
        ]) {
            let told = [
                read.verdict(&clients, token.as_deref()).await,
                write.verdict(&clients, token.as_deref()).await,
            ];
            assert_eq!(told, expected, "member {number}");
        }
    }
    // A member that was away hears of new rules and new passwords when it is back.
    cluster.kill(follower);
    let clients = cluster.clients(leader).await;
    let mut admin = Admin::new(&clients);
    admin.token = tokens[4].clone();
    admin.grant("reads", 2, "k", "").await;
    cluster.start_one(follower);
    let clients = cluster.clients(follower).await;
    let reader = Admin::new(&clients).log_in("reader").await;
    assert_eq!(
        write.verdict(&clients, Some(&reader)).await,
        Verdict::Allowed
    );
}
