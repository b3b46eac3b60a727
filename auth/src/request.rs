//! What the log says about users and roles, and what comes of it.

use std::fmt;
use std::sync::Arc;

use bytes::{Buf, BufMut};
use cairn_proto::authpb::Permission;
use cairn_proto::etcdserverpb::{
    AuthDisableRequest, AuthEnableRequest, AuthRoleAddRequest, AuthRoleDeleteRequest,
    AuthRoleGetRequest, AuthRoleGrantPermissionRequest, AuthRoleListRequest,
    AuthRoleRevokePermissionRequest, AuthStatusRequest, AuthUserAddRequest,
    AuthUserChangePasswordRequest, AuthUserDeleteRequest, AuthUserGetRequest,
    AuthUserGrantRoleRequest, AuthUserListRequest, AuthUserRevokeRoleRequest,
    InternalAuthenticateRequest,
};
use prost::DecodeError;
use prost::encoding::{DecodeContext, WireType, message};

use crate::auth_info::{AuthInfo, AuthRevision};
use crate::simple_tokens::SimpleToken;

/// Declares the kinds of requests with their field numbers in etcd's `InternalRaftRequest`.
macro_rules! auth_requests {
    ($($(#[$doc:meta])* $kind:ident($message:ty) = $tag:literal;)*) => {
        /// A log entry about users, roles or whether authentication is on.
        ///
        /// Invariant: no plain password is in one; the API replaces it by its hash.
        #[derive(Clone, PartialEq)]
        pub enum AuthRequest {
            $($(#[$doc])* $kind($message),)*
        }

        impl AuthRequest {
            /// The field numbers of all kinds.
            pub const TAGS: &[u32] = &[$($tag),*];

            /// What kind it is, as etcd names it in metrics.
            #[must_use]
            pub const fn name(&self) -> &'static str {
                match self {
                    $(Self::$kind(_) => stringify!($kind),)*
                }
            }

            /// Writes the request as a field of `InternalRaftRequest`.
            pub fn encode(&self, buffer: &mut impl BufMut) {
                match self {
                    $(Self::$kind(request) => message::encode($tag, request, buffer),)*
                }
            }

            /// The length of what [`AuthRequest::encode`] writes, in bytes.
            #[must_use]
            pub fn encoded_len(&self) -> usize {
                match self {
                    $(Self::$kind(request) => message::encoded_len($tag, request),)*
                }
            }

            /// Reads the content of a field of `InternalRaftRequest`; none if the field is not about
            /// users and roles, and then nothing is read.
            ///
            /// # Errors
            ///
            /// The bytes are no such request.
            pub fn decode(
                tag: u32,
                wire_type: WireType,
                data: &mut impl Buf,
            ) -> Result<Option<Self>, DecodeError> {
                Ok(match tag {
                    $($tag => {
                        let mut request = <$message>::default();
                        message::merge(wire_type, &mut request, data, DecodeContext::default())?;
                        Some(Self::$kind(request))
                    })*
                    _ => None,
                })
            }
        }
    };
}

auth_requests! {
    /// Turns authentication on.
    AuthEnable(AuthEnableRequest) = 1000;
    /// Turns authentication off.
    AuthDisable(AuthDisableRequest) = 1011;
    /// A login whose password the API has checked.
    Authenticate(InternalAuthenticateRequest) = 1012;
    /// Asks whether authentication is on.
    AuthStatus(AuthStatusRequest) = 1013;
    /// Adds a user.
    AuthUserAdd(AuthUserAddRequest) = 1100;
    /// Deletes a user.
    AuthUserDelete(AuthUserDeleteRequest) = 1101;
    /// Asks for a user's roles.
    AuthUserGet(AuthUserGetRequest) = 1102;
    /// Replaces a user's password.
    AuthUserChangePassword(AuthUserChangePasswordRequest) = 1103;
    /// Gives a user a role.
    AuthUserGrantRole(AuthUserGrantRoleRequest) = 1104;
    /// Takes a role from a user.
    AuthUserRevokeRole(AuthUserRevokeRoleRequest) = 1105;
    /// Asks for all users.
    AuthUserList(AuthUserListRequest) = 1106;
    /// Asks for all roles.
    AuthRoleList(AuthRoleListRequest) = 1107;
    /// Adds a role.
    AuthRoleAdd(AuthRoleAddRequest) = 1200;
    /// Deletes a role, also from the users that have it.
    AuthRoleDelete(AuthRoleDeleteRequest) = 1201;
    /// Asks for a role's permissions.
    AuthRoleGet(AuthRoleGetRequest) = 1202;
    /// Gives a role a permission.
    AuthRoleGrantPermission(AuthRoleGrantPermissionRequest) = 1203;
    /// Takes a permission from a role.
    AuthRoleRevokePermission(AuthRoleRevokePermissionRequest) = 1204;
}

impl AuthRequest {
    /// Whether only root may ask for it. Of the others, a login and the status are everybody's, and
    /// users may look at themselves and at roles that they have.
    pub(crate) const fn needs_admin(&self) -> bool {
        match self {
            Self::AuthStatus(_)
            | Self::Authenticate(_)
            | Self::AuthUserGet(_)
            | Self::AuthRoleGet(_) => false,
            Self::AuthEnable(_)
            | Self::AuthDisable(_)
            | Self::AuthUserAdd(_)
            | Self::AuthUserDelete(_)
            | Self::AuthUserChangePassword(_)
            | Self::AuthUserGrantRole(_)
            | Self::AuthUserRevokeRole(_)
            | Self::AuthUserList(_)
            | Self::AuthRoleList(_)
            | Self::AuthRoleAdd(_)
            | Self::AuthRoleDelete(_)
            | Self::AuthRoleGrantPermission(_)
            | Self::AuthRoleRevokePermission(_) => true,
        }
    }
}

/// The kind alone: requests hold hashes of passwords, and this goes into logs.
impl fmt::Debug for AuthRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple(self.name()).finish_non_exhaustive()
    }
}

/// What a request did.
#[derive(Clone, Debug, PartialEq)]
pub struct Applied {
    /// What the client is told.
    pub response: AuthResponse,
    /// What each member does to its own tokens.
    pub tokens: Option<TokenChange>,
}

/// What a client is told, beside the header.
#[derive(Clone, Debug, PartialEq)]
pub enum AuthResponse {
    /// It is done.
    Done,
    /// Whether authentication is on, and the revision of the rules.
    Status {
        /// Whether it is on.
        enabled: bool,
        /// The revision.
        revision: AuthRevision,
    },
    /// The login holds. The API signs a token for the user, if this is not a simple one.
    Authenticated {
        /// Who has logged in, and under which rules.
        info: AuthInfo,
        /// The token, if the request brought a simple one's first part.
        token: Option<SimpleToken>,
    },
    /// Names, ascending: a user's roles, all users or all roles.
    Names(Vec<String>),
    /// A role's permissions.
    Permissions(Vec<Permission>),
}

/// What a change means for the tokens that members hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenChange {
    /// A token is handed out to a user.
    Assign {
        /// The token.
        token: SimpleToken,
        /// The user.
        username: Arc<str>,
    },
    /// The user's tokens end: it has another password, or is gone.
    ForgetUser(Arc<str>),
    /// All tokens end.
    ForgetAll,
}
