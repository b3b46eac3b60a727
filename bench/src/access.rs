//! Auth of a server of our own: turned on and off around a measurement.

use anyhow::Result;
use bytes::Bytes;
use cairn_proto::authpb::{Permission, permission};
use cairn_proto::etcdserverpb::{
    AuthDisableRequest, AuthEnableRequest, AuthRoleAddRequest, AuthRoleGrantPermissionRequest,
    AuthUserAddRequest, AuthUserGrantRoleRequest,
};

use crate::connection::Method;
use crate::endpoint::Endpoint;
use crate::framing::frame;
use crate::key_space::KeySpace;
use crate::probe;
use crate::user::User;

/// The superuser, whom auth cannot be turned on without.
const ROOT: &str = "root";
/// The role of the user that is measured, and the user.
const ROLE: &str = "bench";

/// A server's users: root, and one who may read and write a key space.
#[derive(Clone, Debug)]
pub struct Access {
    endpoint: Endpoint,
    root: User,
    user: User,
}

impl Access {
    /// The users of a server.
    #[must_use]
    pub fn of(endpoint: Endpoint) -> Self {
        let user = |name: &str| User {
            name: name.to_owned(),
            password: format!("password of {name}"),
        };
        Self {
            endpoint,
            root: user(ROOT),
            user: user(ROLE),
        }
    }

    /// Makes users and roles on a server that has none; auth stays off.
    ///
    /// # Errors
    ///
    /// If the server refuses.
    pub fn set_up(&self, keys: &KeySpace) -> Result<()> {
        for (user, role) in [(&self.root, ROOT), (&self.user, ROLE)] {
            let role_add = AuthRoleAddRequest {
                name: role.to_owned(),
            };
            let user_add = AuthUserAddRequest {
                name: user.name.clone(),
                password: user.password.clone(),
                ..AuthUserAddRequest::default()
            };
            let grant = AuthUserGrantRoleRequest {
                user: user.name.clone(),
                role: role.to_owned(),
            };
            self.ask(None, Method::RoleAdd, frame(&role_add))?;
            self.ask(None, Method::UserAdd, frame(&user_add))?;
            self.ask(None, Method::UserGrantRole, frame(&grant))?;
        }
        let (key, range_end) = keys.range();
        let grant = AuthRoleGrantPermissionRequest {
            name: ROLE.to_owned(),
            perm: Some(Permission {
                perm_type: permission::Type::Readwrite.into(),
                key,
                range_end,
            }),
        };
        self.ask(None, Method::RoleGrantPermission, frame(&grant))
    }

    /// The user who may read and write the key space.
    #[must_use]
    pub fn user(&self) -> &User {
        &self.user
    }

    /// Turns auth on.
    ///
    /// # Errors
    ///
    /// If the server refuses.
    pub fn enable(&self) -> Result<()> {
        let request = frame(&AuthEnableRequest::default());
        self.ask(None, Method::AuthEnable, request)
    }

    /// Turns auth off, as root.
    ///
    /// # Errors
    ///
    /// If the server refuses.
    pub fn disable(&self) -> Result<()> {
        let request = frame(&AuthDisableRequest::default());
        self.ask(Some(&self.root), Method::AuthDisable, request)
    }

    fn ask(&self, user: Option<&User>, method: Method, framed: Bytes) -> Result<()> {
        probe::ask_as(user, self.endpoint, method, framed).map(drop)
    }
}
