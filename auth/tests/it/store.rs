//! The store's rules, on an engine in memory.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine;
use bytes::Bytes;
use cairn_auth::{
    Access, Applied, AuthError, AuthInfo, AuthRequest, AuthResponse, AuthRevision, AuthStore,
    NAME_BYTES_MAX, TokenChange,
};
use cairn_backend::{Backend, BackendOptions, MemoryEngine, Table};
use cairn_index::KeyRange;
use cairn_proto::authpb::{Permission, UserAddOptions};
use cairn_proto::etcdserverpb::{
    AuthDisableRequest, AuthEnableRequest, AuthRoleAddRequest, AuthRoleDeleteRequest,
    AuthRoleGetRequest, AuthRoleGrantPermissionRequest, AuthRoleListRequest,
    AuthRoleRevokePermissionRequest, AuthStatusRequest, AuthUserAddRequest,
    AuthUserChangePasswordRequest, AuthUserDeleteRequest, AuthUserGetRequest,
    AuthUserGrantRoleRequest, AuthUserListRequest, AuthUserRevokeRoleRequest,
    InternalAuthenticateRequest,
};
use proptest::prelude::*;

const READ: i32 = 0;
const WRITE: i32 = 1;
const READWRITE: i32 = 2;

struct Cluster {
    backend: Backend,
    store: AuthStore,
    index: u64,
}

fn enable() -> AuthRequest {
    AuthRequest::AuthEnable(AuthEnableRequest {})
}

fn disable() -> AuthRequest {
    AuthRequest::AuthDisable(AuthDisableRequest {})
}

fn user_add(name: &str) -> AuthRequest {
    AuthRequest::AuthUserAdd(AuthUserAddRequest {
        name: name.to_owned(),
        hashed_password: base64::engine::general_purpose::STANDARD.encode("hash"),
        ..AuthUserAddRequest::default()
    })
}

fn user_delete(name: &str) -> AuthRequest {
    let name = name.to_owned();
    AuthRequest::AuthUserDelete(AuthUserDeleteRequest { name })
}

fn user_get(name: &str) -> AuthRequest {
    let name = name.to_owned();
    AuthRequest::AuthUserGet(AuthUserGetRequest { name })
}

fn change_password(name: &str) -> AuthRequest {
    AuthRequest::AuthUserChangePassword(AuthUserChangePasswordRequest {
        name: name.to_owned(),
        ..AuthUserChangePasswordRequest::default()
    })
}

fn grant_role(user: &str, role: &str) -> AuthRequest {
    let (user, role) = (user.to_owned(), role.to_owned());
    AuthRequest::AuthUserGrantRole(AuthUserGrantRoleRequest { user, role })
}

fn revoke_role(name: &str, role: &str) -> AuthRequest {
    let (name, role) = (name.to_owned(), role.to_owned());
    AuthRequest::AuthUserRevokeRole(AuthUserRevokeRoleRequest { name, role })
}

fn role_add(name: &str) -> AuthRequest {
    let name = name.to_owned();
    AuthRequest::AuthRoleAdd(AuthRoleAddRequest { name })
}

fn role_delete(role: &str) -> AuthRequest {
    let role = role.to_owned();
    AuthRequest::AuthRoleDelete(AuthRoleDeleteRequest { role })
}

fn role_get(role: &str) -> AuthRequest {
    let role = role.to_owned();
    AuthRequest::AuthRoleGet(AuthRoleGetRequest { role })
}

fn permission(perm_type: i32, key: &str, range_end: &str) -> Permission {
    Permission {
        perm_type,
        key: Bytes::copy_from_slice(key.as_bytes()),
        range_end: Bytes::copy_from_slice(range_end.as_bytes()),
    }
}

fn grant(role: &str, perm_type: i32, key: &str, range_end: &str) -> AuthRequest {
    AuthRequest::AuthRoleGrantPermission(AuthRoleGrantPermissionRequest {
        name: role.to_owned(),
        perm: Some(permission(perm_type, key, range_end)),
    })
}

fn revoke(role: &str, key: &str, range_end: &str) -> AuthRequest {
    AuthRequest::AuthRoleRevokePermission(AuthRoleRevokePermissionRequest {
        role: role.to_owned(),
        key: Bytes::copy_from_slice(key.as_bytes()),
        range_end: Bytes::copy_from_slice(range_end.as_bytes()),
    })
}

fn authenticate(name: &str, letters: &str) -> AuthRequest {
    AuthRequest::Authenticate(InternalAuthenticateRequest {
        name: name.to_owned(),
        simple_token: letters.to_owned(),
        ..InternalAuthenticateRequest::default()
    })
}

impl Cluster {
    fn new() -> Self {
        let backend = Backend::open(MemoryEngine::new(), BackendOptions::default()).unwrap();
        let store = AuthStore::restore(&backend.read().unwrap()).unwrap();
        Self {
            backend,
            store,
            index: 0,
        }
    }

    /// With users root and u, role r that u has, and permissions on `k` and `[p, q)`.
    fn with_users() -> Self {
        let mut cluster = Self::new();
        for request in [
            user_add("root"),
            grant_role("root", "root"),
            user_add("u"),
            role_add("r"),
            grant_role("u", "r"),
            grant("r", READ, "k", ""),
            grant("r", READWRITE, "p", "q"),
        ] {
            cluster.apply(&request, None).unwrap();
        }
        cluster
    }

    fn apply(
        &mut self,
        request: &AuthRequest,
        auth_info: Option<&AuthInfo>,
    ) -> Result<Applied, AuthError> {
        self.index += 1;
        let mut tx = self.backend.write();
        let applied = self.store.apply(request, auth_info, self.index, &mut tx);
        tx.end().unwrap();
        applied
    }

    fn as_root(&mut self, request: &AuthRequest) -> Result<AuthResponse, AuthError> {
        let root = self.user("root");
        self.apply(request, Some(&root)).map(|it| it.response)
    }

    /// A user who has been let in just now.
    fn user(&self, name: &str) -> AuthInfo {
        AuthInfo::new(name.into(), self.store.revision()).unwrap()
    }

    fn revision(&self) -> u64 {
        self.store.revision().get()
    }

    fn may(&self, name: &str, access: Access, key: &str, range_end: &str) -> bool {
        let bytes = |text: &str| Bytes::copy_from_slice(text.as_bytes());
        let range = KeyRange::from_wire(bytes(key), bytes(range_end));
        let user = self.user(name);
        self.store.check_range(Some(&user), &range, access).is_ok()
    }
}

#[test]
fn rules_begin_at_revision_one_and_off() {
    let cluster = Cluster::new();
    assert_eq!(cluster.store.revision(), AuthRevision::FIRST);
    assert!(!cluster.store.is_enabled());
    let all = KeyRange::All;
    assert_eq!(cluster.store.check_range(None, &all, Access::Write), Ok(()));
    assert_eq!(cluster.store.check_admin(None), Ok(()));
    assert_eq!(cluster.store.check_somebody(None), Ok(()));
}

#[test]
fn each_change_counts_and_nothing_else_does() {
    let mut cluster = Cluster::new();
    let counts: &[(AuthRequest, bool)] = &[
        (user_add("root"), true),
        (user_add("root"), false),
        (grant_role("root", "root"), true),
        // It has the role already.
        (grant_role("root", "root"), false),
        (enable(), false),
        (enable(), false),
        (role_add("r"), true),
        (grant("r", READ, "k", ""), true),
        // Even if nothing is different.
        (grant("r", READ, "k", ""), true),
        (revoke("r", "k", ""), true),
        (revoke("r", "k", ""), false),
        (user_add("u"), true),
        (change_password("u"), true),
        (grant_role("u", "r"), true),
        (revoke_role("u", "r"), true),
        (role_delete("r"), true),
        (user_delete("u"), true),
        (user_get("root"), false),
        (AuthRequest::AuthStatus(AuthStatusRequest {}), false),
        (authenticate("root", "abc"), false),
        (disable(), true),
        (disable(), false),
    ];
    for (at, (request, counts)) in counts.iter().enumerate() {
        let before = cluster.revision();
        let _ = cluster.as_root(request);
        assert_eq!(
            cluster.revision() - before,
            u64::from(*counts),
            "{at}: {request:?}"
        );
    }
}

#[test]
fn requests_are_refused_by_etcds_rules() {
    use AuthError::*;
    let mut cluster = Cluster::with_users();
    let long = "n".repeat(NAME_BYTES_MAX + 1);
    let bytes = long.len();
    let no_permission = AuthRequest::AuthRoleGrantPermission(AuthRoleGrantPermissionRequest {
        name: "nobody".to_owned(),
        perm: None,
    });
    let bad_hash = AuthRequest::AuthUserAdd(AuthUserAddRequest {
        name: "new".to_owned(),
        hashed_password: "%".to_owned(),
        ..AuthUserAddRequest::default()
    });
    let plain_password = AuthRequest::AuthUserAdd(AuthUserAddRequest {
        name: "new".to_owned(),
        password: "pw".to_owned(),
        ..AuthUserAddRequest::default()
    });
    for enabled in [false, true] {
        if enabled {
            cluster.as_root(&enable()).unwrap();
        }
        let mut table: Vec<(AuthRequest, AuthError)> = vec![
            (user_add(""), UserEmpty),
            (user_add("u"), UserAlreadyExist),
            (user_add(&long), NameTooLong { bytes }),
            (bad_hash.clone(), NoPasswordUser),
            (plain_password.clone(), NoPasswordUser),
            (user_delete("nobody"), UserNotFound),
            (user_delete(&long), UserNotFound),
            (user_get("nobody"), UserNotFound),
            (change_password("nobody"), UserNotFound),
            (grant_role("nobody", "r"), UserNotFound),
            (grant_role("u", "nothing"), RoleNotFound),
            (revoke_role("nobody", "r"), UserNotFound),
            (revoke_role("root", "r"), RoleNotGranted),
            (role_add(""), RoleEmpty),
            (role_add("r"), RoleAlreadyExist),
            (role_add(&long), NameTooLong { bytes }),
            (role_delete("nothing"), RoleNotFound),
            (role_get("nothing"), RoleNotFound),
            // Role root may be granted without being there, and is then no role to ask for.
            (role_get("root"), RoleNotFound),
            (no_permission.clone(), PermissionNotGiven),
            (grant("nothing", READ, "b", "a"), InvalidAuthMgmt),
            (grant("nothing", READ, "", "\0"), InvalidAuthMgmt),
            (grant("nothing", READ, "k", ""), RoleNotFound),
            (revoke("nothing", "k", ""), RoleNotFound),
            (revoke("r", "k", "l"), PermissionNotGranted),
        ];
        if enabled {
            table.extend([
                (user_delete("root"), InvalidAuthMgmt),
                (revoke_role("root", "root"), InvalidAuthMgmt),
                (role_delete("root"), InvalidAuthMgmt),
                (authenticate("nobody", "abc"), AuthFailed),
            ]);
        } else {
            table.push((authenticate("root", "abc"), AuthNotEnabled));
        }
        let before = cluster.revision();
        for (request, error) in table {
            assert_eq!(cluster.as_root(&request), Err(error), "{request:?}");
        }
        assert_eq!(cluster.revision(), before);
    }
}

#[test]
fn authentication_needs_user_root_with_role_root() {
    let mut cluster = Cluster::new();
    let refused = |cluster: &mut Cluster| cluster.apply(&enable(), None).unwrap_err();
    assert_eq!(refused(&mut cluster), AuthError::RootUserNotExist);
    cluster.apply(&user_add("root"), None).unwrap();
    assert_eq!(refused(&mut cluster), AuthError::RootRoleNotExist);
    cluster.apply(&grant_role("root", "root"), None).unwrap();
    cluster.apply(&enable(), None).unwrap();
    assert!(cluster.store.is_enabled());
}

#[test]
fn only_root_changes_the_rules_and_users_may_look_at_themselves() {
    let mut cluster = Cluster::with_users();
    cluster.as_root(&enable()).unwrap();
    let admin = [
        enable(),
        disable(),
        user_add("new"),
        user_delete("u"),
        change_password("u"),
        grant_role("u", "r"),
        revoke_role("u", "r"),
        role_add("new"),
        role_delete("r"),
        grant("r", WRITE, "k", ""),
        revoke("r", "k", ""),
        AuthRequest::AuthUserList(AuthUserListRequest {}),
        AuthRequest::AuthRoleList(AuthRoleListRequest {}),
        user_get("root"),
        role_get("other"),
    ];
    let user = cluster.user("u");
    let gone = cluster.user("gone");
    for request in &admin {
        let denied = cluster.apply(request, Some(&user)).unwrap_err();
        assert_eq!(denied, AuthError::PermissionDenied, "{request:?}");
        let nobody = cluster.apply(request, None).unwrap_err();
        assert_eq!(nobody, AuthError::UserEmpty, "{request:?}");
        let unknown = cluster.apply(request, Some(&gone)).unwrap_err();
        assert_eq!(unknown, AuthError::UserNotFound, "{request:?}");
    }
    let own = cluster.apply(&user_get("u"), Some(&user)).unwrap();
    assert_eq!(own.response, AuthResponse::Names(vec!["r".to_owned()]));
    let own = cluster.apply(&role_get("r"), Some(&user)).unwrap();
    let permissions = vec![permission(READ, "k", ""), permission(READWRITE, "p", "q")];
    assert_eq!(own.response, AuthResponse::Permissions(permissions));
    let status = AuthRequest::AuthStatus(AuthStatusRequest {});
    assert!(cluster.apply(&status, None).is_ok());
}

#[test]
fn role_root_shows_that_it_allows_everything() {
    let mut cluster = Cluster::with_users();
    cluster.as_root(&role_add("root")).unwrap();
    let all = AuthResponse::Permissions(vec![permission(READWRITE, "", "\0")]);
    assert_eq!(cluster.as_root(&role_get("root")), Ok(all));
}

#[test]
fn permissions_follow_roles() {
    let mut cluster = Cluster::with_users();
    cluster.as_root(&enable()).unwrap();
    assert!(cluster.may("u", Access::Read, "k", ""));
    assert!(!cluster.may("u", Access::Write, "k", ""));
    assert!(!cluster.may("u", Access::Read, "k", "\0"));
    assert!(cluster.may("u", Access::Write, "p", "q"));
    assert!(!cluster.may("u", Access::Read, "a", "z"));
    assert!(cluster.may("root", Access::Write, "\0", "\0"));
    cluster.as_root(&grant("r", WRITE, "k", "")).unwrap();
    assert!(!cluster.may("u", Access::Read, "k", ""));
    assert!(cluster.may("u", Access::Write, "k", ""));
    cluster.as_root(&role_delete("r")).unwrap();
    assert!(!cluster.may("u", Access::Write, "k", ""));
    cluster.as_root(&role_add("r")).unwrap();
    assert!(!cluster.may("u", Access::Write, "p", "q"));
    cluster.as_root(&grant_role("u", "root")).unwrap();
    assert!(cluster.may("u", Access::Write, "anything", "\0"));
    let user = cluster.user("u");
    assert_eq!(cluster.store.check_admin(Some(&user)), Ok(()));
}

/// The finding in etcd that the store's comment names.
#[test]
fn of_ranges_with_one_start_each_is_replaced_by_its_own() {
    let mut cluster = Cluster::with_users();
    for end in ["b", "c"] {
        cluster.as_root(&grant("r", READWRITE, "a", end)).unwrap();
    }
    cluster.as_root(&grant("r", READ, "a", "c")).unwrap();
    cluster.as_root(&enable()).unwrap();
    assert!(cluster.may("u", Access::Read, "a", "c"));
    assert!(!cluster.may("u", Access::Write, "a", "c"));
    assert!(cluster.may("u", Access::Write, "a", "b"));
}

#[test]
fn who_was_let_in_under_other_rules_is_refused() {
    let mut cluster = Cluster::with_users();
    cluster.as_root(&enable()).unwrap();
    let user = cluster.user("u");
    let key = KeyRange::One(Bytes::from_static(b"k"));
    let check =
        |cluster: &Cluster, auth_info| cluster.store.check_range(auth_info, &key, Access::Read);
    assert_eq!(check(&cluster, Some(&user)), Ok(()));
    cluster.as_root(&role_add("unrelated")).unwrap();
    assert_eq!(
        check(&cluster, Some(&user)),
        Err(AuthError::AuthOldRevision)
    );
    let unchanged = cluster.store.check_unchanged(Some(&user));
    assert_eq!(unchanged, Err(AuthError::AuthOldRevision));
    assert_eq!(check(&cluster, None), Err(AuthError::UserEmpty));
    let gone = cluster.user("gone");
    assert_eq!(
        check(&cluster, Some(&gone)),
        Err(AuthError::PermissionDenied)
    );
}

#[test]
fn a_login_assigns_a_token_and_a_new_password_ends_it() {
    let mut cluster = Cluster::with_users();
    cluster.as_root(&enable()).unwrap();
    let applied = cluster.apply(&authenticate("u", "abc"), None).unwrap();
    let AuthResponse::Authenticated { info, token } = applied.response else {
        panic!("{applied:?}");
    };
    let token = token.unwrap();
    assert_eq!(info.username(), "u");
    assert_eq!(token.as_str(), format!("abc.{}", cluster.index));
    let username = "u".into();
    assert_eq!(
        applied.tokens,
        Some(TokenChange::Assign { token, username })
    );
    // Signed tokens are the API's.
    let applied = cluster.apply(&authenticate("u", ""), None).unwrap();
    assert_eq!(applied.tokens, None);
    let root = cluster.user("root");
    for request in [change_password("u"), user_delete("u")] {
        let applied = cluster.apply(&request, Some(&root)).unwrap();
        assert_eq!(applied.tokens, Some(TokenChange::ForgetUser("u".into())));
    }
    let applied = cluster.apply(&disable(), Some(&root)).unwrap();
    assert_eq!(applied.tokens, Some(TokenChange::ForgetAll));
}

#[test]
fn a_user_without_password_does_not_log_in_with_one() {
    let mut cluster = Cluster::with_users();
    let add = AuthRequest::AuthUserAdd(AuthUserAddRequest {
        name: "cert".to_owned(),
        options: Some(UserAddOptions { no_password: true }),
        ..AuthUserAddRequest::default()
    });
    cluster.as_root(&add).unwrap();
    assert_eq!(
        cluster.store.password_of("u").err(),
        Some(AuthError::AuthNotEnabled)
    );
    cluster.as_root(&enable()).unwrap();
    assert_eq!(
        cluster.store.password_of("cert").err(),
        Some(AuthError::NoPasswordUser)
    );
    assert_eq!(
        cluster.store.password_of("nobody").err(),
        Some(AuthError::AuthFailed)
    );
    let password = cluster.store.password_of("u").unwrap();
    assert_eq!(password.hash.as_ref(), b"hash");
    assert_eq!(password.revision, cluster.store.revision());
    let login = cluster.apply(&authenticate("cert", "abc"), None);
    assert_eq!(login, Err(AuthError::AuthFailed));
}

#[test]
fn tables_have_etcds_keys_and_bytes() {
    let mut cluster = Cluster::with_users();
    cluster.as_root(&enable()).unwrap();
    let tx = cluster.backend.read().unwrap();
    let get = |table, key: &str| tx.get(table, key.as_bytes()).unwrap();
    assert_eq!(get(Table::Auth, "authEnabled").as_deref(), Some(&[1][..]));
    let revision = cluster.revision().to_be_bytes();
    assert_eq!(
        get(Table::Auth, "authRevision").as_deref(),
        Some(&revision[..])
    );
    let row = b"\x0a\x04root\x12\x04hash\x1a\x04root\x22\x00";
    assert_eq!(get(Table::AuthUsers, "root").as_deref(), Some(&row[..]));
    assert!(get(Table::AuthRoles, "r").is_some());
}

/// Rights as a list of grants that is searched in full.
#[derive(Default)]
struct Model {
    users: BTreeMap<String, BTreeSet<String>>,
    roles: BTreeMap<String, BTreeMap<(String, String), i32>>,
}

impl Model {
    fn apply(&mut self, request: &AuthRequest) {
        match request {
            AuthRequest::AuthUserAdd(add) => {
                self.users.entry(add.name.clone()).or_default();
            }
            AuthRequest::AuthUserDelete(delete) => {
                self.users.remove(&delete.name);
            }
            AuthRequest::AuthUserGrantRole(grant) => {
                let exists = self.roles.contains_key(&grant.role) || grant.role == "root";
                if let Some(roles) = self.users.get_mut(&grant.user).filter(|_| exists) {
                    roles.insert(grant.role.clone());
                }
            }
            AuthRequest::AuthUserRevokeRole(revoke) => {
                if let Some(roles) = self.users.get_mut(&revoke.name) {
                    roles.remove(&revoke.role);
                }
            }
            AuthRequest::AuthRoleAdd(add) => {
                self.roles.entry(add.name.clone()).or_default();
            }
            AuthRequest::AuthRoleDelete(delete) => {
                if self.roles.remove(&delete.role).is_some() {
                    for roles in self.users.values_mut() {
                        roles.remove(&delete.role);
                    }
                }
            }
            AuthRequest::AuthRoleGrantPermission(grant) => {
                let permission = grant.perm.clone().unwrap();
                if let Some(role) = self.roles.get_mut(&grant.name) {
                    role.insert(
                        range(&permission.key, &permission.range_end),
                        permission.perm_type,
                    );
                }
            }
            AuthRequest::AuthRoleRevokePermission(revoke) => {
                if let Some(role) = self.roles.get_mut(&revoke.role) {
                    role.remove(&range(&revoke.key, &revoke.range_end));
                }
            }
            other => panic!("{other:?}"),
        }
    }

    fn may(&self, user: &str, access: Access, key: &str) -> bool {
        let Some(roles) = self.users.get(user) else {
            return false;
        };
        let granting = [READWRITE, if access == Access::Read { READ } else { WRITE }];
        roles.contains("root")
            || roles
                .iter()
                .filter_map(|role| self.roles.get(role))
                .flatten()
                .any(|((first, end), kind)| {
                    let inside = match end.as_str() {
                        "" => key == first,
                        "\0" => key >= first.as_str(),
                        end => key >= first.as_str() && key < end,
                    };
                    inside && granting.contains(kind)
                })
    }
}

fn range(key: &[u8], range_end: &[u8]) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (text(key), text(range_end))
}

const USERS: [&str; 3] = ["u", "v", "w"];
const KEYS: [&str; 4] = ["a", "b", "c", "d"];

fn request() -> impl Strategy<Value = AuthRequest> {
    let user = || prop::sample::select(USERS.to_vec());
    let role = || prop::sample::select(vec!["r", "s", "root"]);
    let key = || prop::sample::select(vec!["a", "b", "c"]);
    let end = || prop::sample::select(vec!["", "\0", "d", "e"]);
    prop_oneof![
        2 => user().prop_map(user_add),
        1 => user().prop_map(user_delete),
        3 => (user(), role()).prop_map(|(user, role)| grant_role(user, role)),
        1 => (user(), role()).prop_map(|(user, role)| revoke_role(user, role)),
        2 => role().prop_map(role_add),
        1 => role().prop_map(role_delete),
        4 => (role(), READ..=READWRITE, key(), end())
            .prop_map(|(role, kind, key, end)| grant(role, kind, key, end)),
        1 => (role(), key(), end()).prop_map(|(role, key, end)| revoke(role, key, end)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn after_any_changes_users_may_do_what_the_model_says_also_after_a_restart(
        requests in prop::collection::vec(request(), 0..60),
    ) {
        let mut cluster = Cluster::with_users();
        let mut model = Model::default();
        for request in [user_add("root"), grant_role("root", "root"), user_add("u"), role_add("r"),
            grant_role("u", "r"), grant("r", READ, "k", ""), grant("r", READWRITE, "p", "q")]
        {
            model.apply(&request);
        }
        cluster.as_root(&enable()).unwrap();
        for request in &requests {
            // Role root is not deleted while authentication is on.
            if matches!(request, AuthRequest::AuthRoleDelete(delete) if delete.role == "root") {
                continue;
            }
            let _ = cluster.as_root(request);
            model.apply(request);
        }
        let restored = AuthStore::restore(&cluster.backend.read().unwrap()).unwrap();
        prop_assert_eq!(restored.revision(), cluster.store.revision());
        prop_assert!(restored.is_enabled());
        for user in USERS {
            for access in [Access::Read, Access::Write] {
                for key in KEYS {
                    let expected = model.may(user, access, key);
                    let auth_info = cluster.user(user);
                    let one = KeyRange::One(Bytes::copy_from_slice(key.as_bytes()));
                    for store in [&cluster.store, &restored] {
                        let may = store.check_range(Some(&auth_info), &one, access).is_ok();
                        prop_assert_eq!(may, expected, "{} {:?} {}", user, access, key);
                    }
                }
            }
        }
    }
}
