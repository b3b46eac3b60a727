//! Who may call what: every method, every kind of range, everybody.
//!
//! The expectations are etcd's: the tests hold for it as well.

use std::collections::BTreeSet;

use cairn_proto::etcdserverpb::request_op::Request as Operation;
use cairn_proto::etcdserverpb::{
    AlarmRequest, AuthDisableRequest, AuthEnableRequest, AuthRoleAddRequest, AuthRoleDeleteRequest,
    AuthRoleGetRequest, AuthRoleGrantPermissionRequest, AuthRoleListRequest,
    AuthRoleRevokePermissionRequest, AuthStatusRequest, AuthUserAddRequest,
    AuthUserChangePasswordRequest, AuthUserDeleteRequest, AuthUserGetRequest,
    AuthUserGrantRoleRequest, AuthUserListRequest, AuthUserRevokeRoleRequest, AuthenticateRequest,
    CompactionRequest, Compare, DefragmentRequest, DeleteRangeRequest, DowngradeRequest,
    HashKvRequest, HashRequest, LeaseGrantRequest, LeaseKeepAliveRequest, LeaseLeasesRequest,
    LeaseRevokeRequest, LeaseTimeToLiveRequest, MemberAddRequest, MemberListRequest,
    MemberPromoteRequest, MemberRemoveRequest, MemberUpdateRequest, MoveLeaderRequest, PutRequest,
    RangeRequest, SnapshotRequest, StatusRequest, TxnRequest, WatchCreateRequest,
};
use cairn_proto::v3electionpb::{
    CampaignRequest, LeaderKey, LeaderRequest, ProclaimRequest, ResignRequest,
};
use cairn_proto::v3lockpb::{LockRequest, UnlockRequest};

use crate::auth_calls::*;
use crate::cluster_harness::Cluster;
use crate::harness::{Clients, Server};
use crate::requests::*;
use crate::services::methods_of_etcd;

/// Everybody, in the order of the tables' letters: while authentication is off nobody, then nobody,
/// a user without a role, one that may read, one that may write, one that may do both, and root.
const USERS: [&str; 5] = ["norole", "reader", "writer", "both", "root"];

/// Ranges, and whether reader, writer and who is both have their permissions on them.
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

/// Names of locks and elections, whose keys are all those below `name/`, and whether reader, writer and
/// who is both have their permissions on these.
const NAMES: &[(&str, &str, bool)] = &[
    ("in a range", "b", true),
    ("in a prefix", "p", true),
    ("from a key on", "x", true),
    ("after the key of an open end", "y", true),
    ("where ranges touch", "m", true),
    ("of a key alone", "k", false),
    ("at a range's end", "d", false),
    ("before the open end", "w", false),
    ("beside all ranges", "j", false),
    ("nothing", "", false),
];

const READS: &str = "+ed+d++";
const WRITES: &str = "+edd+++";
const READS_AND_WRITES: &str = "+eddd++";
const ROOT_ONLY: &str = "+edddd+";
const SOMEBODY: &str = "+e+++++";
const EVERYBODY: &str = "+++++++";

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
        (Call::new(path, &put_and_read), "prev_kv", READS_AND_WRITES),
        (txn(&then(vec![op(operation(put.clone()))])), "put", WRITES),
        (txn(&nested(operation(put))), "nested put", WRITES),
        (
            txn(&nested(operation(put_and_read))),
            "nested put, prev_kv",
            READS_AND_WRITES,
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
            READS_AND_WRITES,
        ),
        (txn(&then(vec![op(written.clone())])), "delete", WRITES),
        (txn(&nested(written)), "nested delete", WRITES),
        (
            txn(&nested(both)),
            "nested delete, prev_kv",
            READS_AND_WRITES,
        ),
    ];
    if range_end.is_empty() {
        calls.extend(puts(key));
        let unlock = UnlockRequest { key: bytes(key) };
        calls.push((Call::new("/v3lockpb.Lock/Unlock", &unlock), "", WRITES));
    }
    calls
}

/// Methods of locks and elections. None of them gets or changes anything, whoever asks: their lease and
/// their leadership are not there.
fn named(name: &str) -> Vec<Row> {
    let lease = 5;
    let leader = Some(LeaderKey {
        name: bytes(name),
        key: bytes(&format!("{name}/5")),
        rev: 1 << 40,
        lease,
    });
    let lock = LockRequest {
        name: bytes(name),
        lease,
    };
    let campaign = CampaignRequest {
        name: bytes(name),
        lease,
        value: bytes("v"),
    };
    let proclaim = ProclaimRequest {
        leader: leader.clone(),
        value: bytes("v"),
    };
    let resign = ResignRequest { leader };
    let who = LeaderRequest { name: bytes(name) };
    let both = |call| (call, "", READS_AND_WRITES);
    let read = |call| (call, "", READS);
    vec![
        both(Call::new("/v3lockpb.Lock/Lock", &lock)),
        both(Call::new("/v3electionpb.Election/Campaign", &campaign)),
        both(Call::new("/v3electionpb.Election/Proclaim", &proclaim)),
        both(Call::new("/v3electionpb.Election/Resign", &resign)),
        read(Call::new("/v3electionpb.Election/Leader", &who)),
        read(Call::new("/v3electionpb.Election/Observe", &who)),
    ]
}

/// Methods without a range. None of them does what it asks for, whoever asks: users, roles and members
/// of these names are not there.
fn others() -> Vec<Row> {
    let mut rows = of_members();
    rows.extend(of_maintenance());
    rows.extend(of_leases());
    rows.extend(of_users());
    rows.extend(of_roles());
    // Root, the last to call, does disable it.
    rows.push(admin(
        "/etcdserverpb.Auth/AuthDisable",
        &AuthDisableRequest {},
    ));
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
    ]
}

fn of_users() -> Vec<Row> {
    vec![
        (
            Call::new("/etcdserverpb.Auth/AuthStatus", &AuthStatusRequest {}),
            "",
            EVERYBODY,
        ),
        (
            Call::new(
                "/etcdserverpb.Auth/Authenticate",
                &AuthenticateRequest::default(),
            ),
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
    for user in ["norole", "reader", "writer", "both"] {
        admin.add_user(user).await;
    }
    for (user, role) in [
        ("reader", "reads"),
        ("writer", "writes"),
        ("both", "reads"),
        ("both", "writes"),
    ] {
        admin.grant_role(user, role).await;
    }
    admin.enable().await;
    let mut tokens = vec![None];
    for user in USERS {
        tokens.push(Some(admin.log_in(user).await));
    }
    tokens
}

pub(crate) fn watched(key: &str, range_end: &str) -> WatchCreateRequest {
    WatchCreateRequest {
        key: bytes(key),
        range_end: bytes(range_end),
        ..WatchCreateRequest::default()
    }
}

/// Makes somebody lead each election, so that who observes it hears of that.
async fn elect(clients: &Clients, token: Option<&str>) {
    for (_, name, _) in NAMES {
        let put = Call::new("/etcdserverpb.KV/Put", &put(&format!("{name}/0"), "leader"));
        put.by(clients, token).await.unwrap();
    }
}

/// Verdicts on all calls by one caller; where the caller is at `at` in the tables.
async fn check(clients: &Clients, token: Option<&str>, at: usize, wrong: &mut Vec<String>) {
    let mut compare = |what: String, expected: &str, verdict: Verdict| {
        let expected = expected.chars().nth(at).unwrap();
        let is_refused = verdict == Verdict::Unanswered && expected != Verdict::Allowed.letter();
        if verdict.letter() != expected && !is_refused {
            wrong.push(format!(
                "{what}, caller {at}: {verdict:?}, not {expected:?}"
            ));
        }
    };
    for (kind, name, granted) in NAMES {
        for (call, _, letters) in named(name) {
            let verdict = call.verdict(clients, token).await;
            let letters = if *granted { letters } else { ROOT_ONLY };
            compare(
                format!("{} with a name {kind}", call.path),
                letters,
                verdict,
            );
        }
    }
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
    check_everyone(server.clients().await).await;
}

#[tokio::test]
async fn in_json_every_method_is_for_the_same_callers() {
    let server = Server::start(&["--bcrypt-cost=4"]);
    check_everyone(server.clients_in_json().await).await;
}

async fn check_everyone(clients: Clients) {
    let mut wrong = Vec::new();
    elect(&clients, None).await;
    check(&clients, None, 0, &mut wrong).await;
    // What this left behind would be in the way of the users of the same names.
    let delete = AuthUserDeleteRequest {
        name: "root".to_owned(),
    };
    let mut admin = Admin::new(&clients);
    admin.auth.user_delete(delete).await.unwrap();
    let tokens = rules(&clients).await;
    for (at, token) in tokens.iter().enumerate() {
        elect(&clients, tokens.last().unwrap().as_deref()).await;
        check(&clients, token.as_deref(), at + 1, &mut wrong).await;
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_tables_leave_out_no_method() {
    let rows = [ranged("k", ""), named("n"), others()];
    let mut paths: BTreeSet<&str> = rows
        .iter()
        .flatten()
        .map(|row| row.0.path.as_str())
        .collect();
    paths.insert("/etcdserverpb.Watch/Watch");
    let methods = methods_of_etcd();
    // It tells health to everybody, as long as there is a leader.
    let health = "/grpc.health.v1.Health/";
    let others = methods.iter().filter(|path| !path.starts_with(health));
    assert_eq!(paths, others.map(String::as_str).collect::<BTreeSet<_>>());
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
    admin.token = tokens[5].clone();
    admin.grant("reads", 2, "k", "").await;
    cluster.start_one(follower);
    let clients = cluster.clients(follower).await;
    let reader = Admin::new(&clients).log_in("reader").await;
    assert_eq!(
        write.verdict(&clients, Some(&reader)).await,
        Verdict::Allowed
    );
}
