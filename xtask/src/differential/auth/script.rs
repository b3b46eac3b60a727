//! What users ask for: few users, few roles, few keys, so that they meet.

use bytes::Bytes;
use cairn_proto::authpb::{Permission, UserAddOptions};
use cairn_proto::etcdserverpb::request_op::Request;
use cairn_proto::etcdserverpb::{
    AuthDisableRequest, AuthEnableRequest, AuthRoleAddRequest, AuthRoleDeleteRequest,
    AuthRoleGetRequest, AuthRoleGrantPermissionRequest, AuthRoleListRequest,
    AuthRoleRevokePermissionRequest, AuthStatusRequest, AuthUserAddRequest,
    AuthUserChangePasswordRequest, AuthUserDeleteRequest, AuthUserGetRequest,
    AuthUserGrantRoleRequest, AuthUserListRequest, AuthUserRevokeRoleRequest, AuthenticateRequest,
    CompactionRequest, TxnRequest,
};
use prost::Message;
use rand::RngExt;

use super::super::generator::Generator;
use super::super::terse::terse;
use crate::server_process::ApiVersion;

/// One call.
#[derive(Clone, Debug)]
pub(in crate::differential) struct AuthStep {
    /// Whose token it brings; the last that this user was given. None brings no token.
    pub(super) user: Option<&'static str>,
    pub(super) call: Call,
    shown: String,
}

/// What is called.
#[derive(Clone, Debug)]
pub(super) enum Call {
    /// A login, whose token is kept.
    LogIn(AuthenticateRequest),
    /// Any method with one message in and one out.
    Method { path: &'static str, message: Bytes },
}

impl AuthStep {
    pub(super) fn show(&self) -> String {
        format!("{}: {}", self.user.unwrap_or("nobody"), self.shown)
    }

    /// Whether it asks about a user without a name. Who is nobody has that name too, as etcd sees it,
    /// and is told that there is no such user; Cairn asks who it is.
    fn is_of_the_nameless(&self) -> bool {
        let asked = "/etcdserverpb.Auth/UserGet";
        matches!(&self.call, Call::Method { path, message } if *path == asked && message.is_empty())
    }

    /// Whether older etcds answer otherwise: see [`ALL_ASKED`].
    fn is_new(&self) -> bool {
        const PATHS: [&str; 4] = [
            "/etcdserverpb.KV/Compact",
            "/etcdserverpb.Auth/AuthDisable",
            "/etcdserverpb.Auth/AuthStatus",
            "/etcdserverpb.Auth/RoleGet",
        ];
        let Call::Method { path, message } = &self.call else {
            return false;
        };
        match *path {
            "/etcdserverpb.Auth/RoleGrantPermission" => {
                let grant = AuthRoleGrantPermissionRequest::decode(message.clone());
                let perm = grant.ok().and_then(|grant| grant.perm).unwrap_or_default();
                let has_end = perm.range_end != OPEN_END && !perm.range_end.is_empty();
                has_end && perm.range_end < perm.key
            }
            "/etcdserverpb.KV/Txn" => TxnRequest::decode(message.clone()).is_ok_and(|txn| {
                let mut operations = txn.success.iter().chain(&txn.failure);
                operations.any(|it| matches!(it.request, Some(Request::RequestTxn(_))))
            }),
            path => PATHS.contains(&path),
        }
    }
}

const USERS: [&str; 5] = ["root", "u", "v", "w", "certified"];
const ROLES: [&str; 4] = ["root", "r", "s", "t"];
/// Each key begins one range alone. Of several ranges with one start, etcd does not see that a role
/// has a permission already and adds it once more.
const GRANTED: [(&[u8], &[u8]); 8] = [
    (b"a", b""),
    (b"aa", b"ab"),
    (b"ab", b"b"),
    (b"b", b"c"),
    (b"b\xff", b"\0"),
    (b"c", b"\xff"),
    (b"\0", b"\0"),
    (b"d", b"a"),
];
/// The end of a range that has none.
const OPEN_END: &[u8] = b"\0";
/// Nobody that there is.
const UNKNOWN: &str = "unknown";

/// Etcds from then on look into nested transactions, ask who tells them to compact, take no notice of
/// tokens once authentication is off, tell whether it is on and what root may, and refuse to grant a
/// range that ends before it begins.
const ALL_ASKED: ApiVersion = ApiVersion { major: 3, minor: 7 };

/// A script of so many steps for servers that stand for at least this version; the same seed gives
/// the same script. Most begin with rules that are on.
pub(super) fn script(seed: u64, steps: usize, version: ApiVersion) -> Vec<AuthStep> {
    let mut writer = Writer(Generator::new(seed, version));
    let mut script = Vec::new();
    if !writer.0.rarely(8) {
        for user in ["root", "u", "v"] {
            script.push(writer.by(None, user_add(user, 0)));
        }
        script.push(writer.by(None, user_role("root", "root")));
        script.push(writer.by(None, role_add("r")));
        script.push(writer.by(None, writer_grant("r", 2, b"b", b"c")));
        script.push(writer.by(None, user_role("u", "r")));
        script.push(writer.by(
            None,
            method("/etcdserverpb.Auth/AuthEnable", &AuthEnableRequest {}),
        ));
        for user in ["root", "u", "v"] {
            script.push(log_in(user, 0));
        }
    }
    script.extend((0..steps).map(|_| writer.step()));
    script.retain(|step| !step.is_of_the_nameless() && (version >= ALL_ASKED || !step.is_new()));
    script
}

struct Writer(Generator);

type Method = (Call, String);

impl Writer {
    fn step(&mut self) -> AuthStep {
        match self.0.number(100) {
            0..12 => {
                let user = self.user();
                log_in(user, self.0.number(5) / 4)
            }
            12..50 => {
                let user = self.somebody();
                let call = self.key_value();
                self.by(user, call)
            }
            50..90 => {
                let user = if self.0.rarely(6) {
                    self.somebody()
                } else {
                    Some("root")
                };
                let call = self.rules();
                self.by(user, call)
            }
            90..94 => {
                let user = self.somebody();
                let compact = CompactionRequest {
                    revision: 1 << 40,
                    physical: false,
                };
                self.by(user, method("/etcdserverpb.KV/Compact", &compact))
            }
            94..97 => {
                let user = self.somebody();
                let call = method("/etcdserverpb.Auth/AuthEnable", &AuthEnableRequest {});
                self.by(user, call)
            }
            97 => {
                let user = self.somebody();
                let call = method("/etcdserverpb.Auth/AuthDisable", &AuthDisableRequest {});
                self.by(user, call)
            }
            _ => {
                let user = self.somebody();
                let call = method("/etcdserverpb.Auth/AuthStatus", &AuthStatusRequest {});
                self.by(user, call)
            }
        }
    }

    #[expect(clippy::unused_self, reason = "reads as who says it")]
    fn by(&self, user: Option<&'static str>, (call, shown): Method) -> AuthStep {
        AuthStep { user, call, shown }
    }

    fn key_value(&mut self) -> Method {
        match self.0.number(10) {
            0..3 => {
                let mut put = self.0.put();
                put.lease = 0;
                method("/etcdserverpb.KV/Put", &put)
            }
            3..6 => method("/etcdserverpb.KV/Range", &self.0.range()),
            6 => method("/etcdserverpb.KV/DeleteRange", &self.0.delete()),
            _ => method("/etcdserverpb.KV/Txn", &self.0.txn(0)),
        }
    }

    fn rules(&mut self) -> Method {
        let (user, role) = (self.user().to_owned(), self.role().to_owned());
        match self.0.number(16) {
            0 | 1 => {
                let user = self.user();
                user_add(user, self.0.number(2))
            }
            2 => method(
                "/etcdserverpb.Auth/UserGet",
                &AuthUserGetRequest { name: user },
            ),
            3 => method("/etcdserverpb.Auth/UserList", &AuthUserListRequest {}),
            4 => method(
                "/etcdserverpb.Auth/UserDelete",
                &AuthUserDeleteRequest { name: user },
            ),
            5 => {
                let password = password(&user, self.0.number(2));
                let change = AuthUserChangePasswordRequest {
                    name: user,
                    password,
                    ..AuthUserChangePasswordRequest::default()
                };
                method("/etcdserverpb.Auth/UserChangePassword", &change)
            }
            6 | 7 => {
                let (user, role) = (self.user(), self.role());
                user_role(user, role)
            }
            8 => {
                let revoke = AuthUserRevokeRoleRequest { name: user, role };
                method("/etcdserverpb.Auth/UserRevokeRole", &revoke)
            }
            9 => role_add(&role),
            10 => method("/etcdserverpb.Auth/RoleGet", &AuthRoleGetRequest { role }),
            11 => method("/etcdserverpb.Auth/RoleList", &AuthRoleListRequest {}),
            12 => method(
                "/etcdserverpb.Auth/RoleDelete",
                &AuthRoleDeleteRequest { role },
            ),
            13 => {
                let (key, range_end) = self.granted();
                let revoke = AuthRoleRevokePermissionRequest {
                    role,
                    key: Bytes::from_static(key),
                    range_end: Bytes::from_static(range_end),
                };
                method("/etcdserverpb.Auth/RoleRevokePermission", &revoke)
            }
            _ => {
                let (key, range_end) = self.granted();
                let kind = i32::try_from(self.0.number(3)).unwrap_or_default();
                writer_grant(&role, kind, key, range_end)
            }
        }
    }

    fn granted(&mut self) -> (&'static [u8], &'static [u8]) {
        let at = self.0.number(GRANTED.len());
        GRANTED.get(at).copied().unwrap_or_default()
    }

    fn user(&mut self) -> &'static str {
        self.one_of(&USERS)
    }

    fn role(&mut self) -> &'static str {
        self.one_of(&ROLES)
    }

    fn one_of(&mut self, names: &[&'static str]) -> &'static str {
        match self.0.number(24) {
            0 => "",
            1 => UNKNOWN,
            _ => {
                let at = self.0.number(names.len());
                names.get(at).copied().unwrap_or_default()
            }
        }
    }

    /// A user who calls; now and then nobody, or one that never logged in.
    fn somebody(&mut self) -> Option<&'static str> {
        (!self.0.rarely(10)).then(|| self.user())
    }
}

impl Generator {
    /// A number below `end`.
    fn number(&mut self, end: usize) -> usize {
        self.rng().random_range(0..end)
    }
}

fn method(path: &'static str, message: &(impl Message + std::fmt::Debug)) -> Method {
    let name = path.rsplit('/').next().unwrap_or_default();
    let shown = format!("{name} {}", terse(message));
    let message = message.encode_to_vec().into();
    (Call::Method { path, message }, shown)
}

fn password(user: &str, which: usize) -> String {
    format!("{user}-{which}")
}

/// User `certified` is one without a password.
fn user_add(user: &str, which: usize) -> Method {
    let add = AuthUserAddRequest {
        name: user.to_owned(),
        password: password(user, which),
        options: (user == "certified").then_some(UserAddOptions { no_password: true }),
        ..AuthUserAddRequest::default()
    };
    method("/etcdserverpb.Auth/UserAdd", &add)
}

fn user_role(user: &str, role: &str) -> Method {
    let (user, role) = (user.to_owned(), role.to_owned());
    let grant = AuthUserGrantRoleRequest { user, role };
    method("/etcdserverpb.Auth/UserGrantRole", &grant)
}

fn role_add(role: &str) -> Method {
    let name = role.to_owned();
    method("/etcdserverpb.Auth/RoleAdd", &AuthRoleAddRequest { name })
}

fn writer_grant(
    role: &str,
    perm_type: i32,
    key: &'static [u8],
    range_end: &'static [u8],
) -> Method {
    let grant = AuthRoleGrantPermissionRequest {
        name: role.to_owned(),
        perm: Some(Permission {
            perm_type,
            key: Bytes::from_static(key),
            range_end: Bytes::from_static(range_end),
        }),
    };
    method("/etcdserverpb.Auth/RoleGrantPermission", &grant)
}

fn log_in(user: &'static str, which: usize) -> AuthStep {
    let login = AuthenticateRequest {
        name: user.to_owned(),
        password: password(user, which),
    };
    AuthStep {
        user: Some(user),
        shown: format!("log in with password {which}"),
        call: Call::LogIn(login),
    }
}
