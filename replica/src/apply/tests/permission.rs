//! Requests of users, as the log carries them, under changing rules.

use bytes::Bytes;
use cairn_auth::{AuthError, AuthInfo, AuthRequest};
use cairn_backend::MemoryEngine;
use cairn_consensus::{Entry, EntryKind, LogIndex, Term};
use cairn_proto::authpb::Permission;
use cairn_proto::etcdserverpb::compare::TargetUnion;
use cairn_proto::etcdserverpb::request_op::Request;
use cairn_proto::etcdserverpb::{
    AuthEnableRequest, AuthRoleAddRequest, AuthRoleGrantPermissionRequest, AuthUserAddRequest,
    AuthUserGrantRoleRequest, Compare, DeleteRangeRequest, PutRequest, RangeRequest, RequestOp,
    TxnRequest,
};

use super::Machine;
use crate::error::ApplyError;
use crate::log_request::LogRequest;
use crate::request_ids::RequestId;

type Answer = Result<(), ApplyError>;

const DENIED: Answer = Err(ApplyError::Auth(AuthError::PermissionDenied));

/// A machine and the number of the entry that comes next.
struct Log {
    machine: Machine,
    next: u64,
}

impl Log {
    /// With authentication on, root, and u who may read `r` and write `w`.
    fn with_rules() -> Self {
        let mut log = Self {
            machine: Machine::open(&MemoryEngine::new()),
            next: 1,
        };
        for request in rules() {
            assert_eq!(log.apply(None, &LogRequest::Auth(request)), Ok(()));
        }
        log
    }

    fn apply(&mut self, auth_info: Option<&AuthInfo>, request: &LogRequest) -> Answer {
        let entry = Entry {
            index: LogIndex::new(self.next),
            term: Term::new(1),
            kind: EntryKind::Normal(
                request.encode(RequestId::from_wire(self.next).unwrap(), auth_info),
            ),
        };
        self.next += 1;
        let applied = self.machine.applier.apply([entry]).unwrap();
        let [(_, reply)] = &applied.replies[..] else {
            panic!("one answer: {:?}", applied.replies);
        };
        reply.as_ref().map(|_| ()).map_err(Clone::clone)
    }

    fn user(&self, name: &str) -> AuthInfo {
        let auth_store = self.machine.applier.auth_store();
        AuthInfo::new(name.into(), auth_store.load().revision()).unwrap()
    }

    fn as_user(&mut self, request: &LogRequest) -> Answer {
        let user = self.user("u");
        self.apply(Some(&user), request)
    }
}

fn rules() -> Vec<AuthRequest> {
    let name = |name: &str| name.to_owned();
    let user = |user| {
        AuthRequest::AuthUserAdd(AuthUserAddRequest {
            name: name(user),
            ..AuthUserAddRequest::default()
        })
    };
    let role = |user, role| {
        let (user, role) = (name(user), name(role));
        AuthRequest::AuthUserGrantRole(AuthUserGrantRoleRequest { user, role })
    };
    let grant = |perm_type, key: &'static str| {
        AuthRequest::AuthRoleGrantPermission(AuthRoleGrantPermissionRequest {
            name: name("role"),
            perm: Some(Permission {
                perm_type,
                key: key.into(),
                range_end: Bytes::new(),
            }),
        })
    };
    vec![
        user("root"),
        role("root", "root"),
        user("u"),
        AuthRequest::AuthRoleAdd(AuthRoleAddRequest { name: name("role") }),
        role("u", "role"),
        grant(0, "r"),
        grant(1, "w"),
        AuthRequest::AuthEnable(AuthEnableRequest {}),
    ]
}

fn put(key: &'static str, prev_kv: bool) -> Request {
    Request::RequestPut(PutRequest {
        key: key.into(),
        prev_kv,
        ..PutRequest::default()
    })
}

fn range(key: &'static str, range_end: &'static str) -> Request {
    Request::RequestRange(RangeRequest {
        key: key.into(),
        range_end: range_end.into(),
        ..RangeRequest::default()
    })
}

fn delete(key: &'static str, range_end: &'static str, prev_kv: bool) -> Request {
    Request::RequestDeleteRange(DeleteRangeRequest {
        key: key.into(),
        range_end: range_end.into(),
        prev_kv,
    })
}

fn branch(request: Request) -> Vec<RequestOp> {
    let request = Some(request);
    vec![RequestOp { request }]
}

/// A transaction that does `request` in neither, one or the other branch, below `depth` others.
fn txn(request: Request, on_success: bool, depth: u32) -> TxnRequest {
    let nested = match depth {
        0 => request,
        _ => Request::RequestTxn(txn(request, on_success, depth - 1)),
    };
    let mut txn = TxnRequest::default();
    if on_success {
        txn.success = branch(nested);
    } else {
        txn.failure = branch(nested);
    }
    txn
}

#[test]
fn each_operation_of_a_transaction_is_checked_at_any_depth_and_on_both_branches() {
    let table = [
        (put("w", false), Ok(())),
        (put("w", true), DENIED),
        (put("r", false), DENIED),
        (range("r", ""), Ok(())),
        (range("r", "\0"), DENIED),
        (range("r", "s"), DENIED),
        (range("w", ""), DENIED),
        (delete("w", "", false), Ok(())),
        (delete("w", "", true), DENIED),
        (delete("w", "\0", false), DENIED),
        (delete("\0", "\0", false), DENIED),
    ];
    let mut log = Log::with_rules();
    for (request, expected) in table {
        for depth in 0..4 {
            for on_success in [true, false] {
                let txn = txn(request.clone(), on_success, depth);
                let answer = log.as_user(&LogRequest::Txn(txn));
                assert_eq!(answer, expected, "{request:?} {depth} {on_success}");
            }
        }
    }
}

#[test]
fn a_compare_reads() {
    let mut log = Log::with_rules();
    for (key, range_end, expected) in [("r", "", Ok(())), ("w", "", DENIED), ("r", "\0", DENIED)] {
        let mut compared = TxnRequest {
            compare: vec![Compare {
                key: key.into(),
                range_end: range_end.into(),
                target_union: Some(TargetUnion::Version(1)),
                ..Compare::default()
            }],
            ..TxnRequest::default()
        };
        for _ in 0..3 {
            let answer = log.as_user(&LogRequest::Txn(compared.clone()));
            assert_eq!(answer, expected, "{key:?} {range_end:?}");
            compared = TxnRequest {
                failure: branch(Request::RequestTxn(compared)),
                ..TxnRequest::default()
            };
        }
    }
}

#[test]
fn a_request_that_is_refused_changes_nothing() {
    let mut log = Log::with_rules();
    let before = log.machine.store.current();
    let mut refused = txn(put("r", false), true, 0);
    refused.success.extend(branch(put("w", false)));
    assert_eq!(log.as_user(&LogRequest::Txn(refused)), DENIED);
    assert_eq!(log.machine.store.current(), before);
}

#[test]
fn a_request_in_flight_across_a_change_of_the_rules_is_refused() {
    let mut log = Log::with_rules();
    let user = log.user("u");
    let put = LogRequest::Put(PutRequest {
        key: "w".into(),
        ..PutRequest::default()
    });
    assert_eq!(log.apply(Some(&user), &put), Ok(()));
    let root = log.user("root");
    let name = "other".to_owned();
    let add = AuthRequest::AuthRoleAdd(AuthRoleAddRequest { name });
    assert_eq!(log.apply(Some(&root), &LogRequest::Auth(add)), Ok(()));
    let old = Err(ApplyError::Auth(AuthError::AuthOldRevision));
    assert_eq!(log.apply(Some(&user), &put), old);
    assert_eq!(log.as_user(&put), Ok(()));
    let nobody = Err(ApplyError::Auth(AuthError::UserEmpty));
    assert_eq!(log.apply(None, &put), nobody);
}

#[test]
fn rules_come_back_after_a_restart() {
    let disk = MemoryEngine::new();
    let mut machine = Machine::open(&disk);
    let requests: Vec<_> = rules().into_iter().map(LogRequest::Auth).collect();
    machine.apply(&super::entries(&requests));
    let before = machine.applier.auth_store().load().revision();
    machine.store.backend().commit().unwrap();
    let machine = Machine::open(&disk);
    let auth_store = machine.applier.auth_store();
    assert!(auth_store.load().is_enabled());
    assert_eq!(auth_store.load().revision(), before);
}
