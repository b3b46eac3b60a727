//! Users, roles and what they may do.

use cairn_proto::authpb;
use cairn_proto::etcdserverpb as pb;

use crate::client::Client;
use crate::error::Error;
use crate::into_bytes::IntoBytes;
use crate::keys::Keys;

/// The calls about users and roles; see [`Client::auth`].
#[derive(Clone, Debug)]
pub struct Auth(Client);

/// What a role may do with keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "they say it")]
pub enum Right {
    Read,
    Write,
    ReadWrite,
}

/// Keys and what may be done with them. The client's namespace does not apply here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Permission {
    /// What may be done.
    pub right: Right,
    /// With which keys.
    pub keys: Keys,
}

/// Whether auth is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuthStatus {
    /// Whether it is.
    pub enabled: bool,
    /// Counts changes of users and roles.
    pub revision: u64,
}

impl Client {
    /// The calls about users and roles.
    #[must_use]
    pub fn auth(&self) -> Auth {
        Auth(self.clone())
    }
}

/// Calls that only succeed or fail.
macro_rules! plain_calls {
    ($($(#[doc = $doc:literal])+ $name:ident($($argument:ident),*) = $request:expr;)+) => {
        impl Auth {
            $(
                $(#[doc = $doc])+
                ///
                /// # Errors
                ///
                /// [`Error`].
                pub async fn $name(&self $(, $argument: impl Into<String>)*) -> Result<(), Error> {
                    $(let $argument: String = $argument.into();)*
                    self.0.call($request).await?;
                    Ok(())
                }
            )+
        }
    };
}

plain_calls! {
    /// Turns auth on. There must be a user `root` with the role `root`.
    enable() = pb::AuthEnableRequest {};
    /// Turns auth off.
    disable() = pb::AuthDisableRequest {};
    /// Adds a user with a password.
    user_add(name, password) = pb::AuthUserAddRequest {
        name, password, ..pb::AuthUserAddRequest::default()
    };
    /// Adds a user that is known by its certificate alone.
    user_add_without_password(name) = pb::AuthUserAddRequest {
        name,
        options: Some(authpb::UserAddOptions { no_password: true }),
        ..pb::AuthUserAddRequest::default()
    };
    /// Removes a user.
    user_delete(name) = pb::AuthUserDeleteRequest { name };
    /// Gives a user another password.
    user_change_password(name, password) = pb::AuthUserChangePasswordRequest {
        name, password, ..pb::AuthUserChangePasswordRequest::default()
    };
    /// Gives a user a role.
    user_grant_role(user, role) = pb::AuthUserGrantRoleRequest { user, role };
    /// Takes a role from a user.
    user_revoke_role(name, role) = pb::AuthUserRevokeRoleRequest { name, role };
    /// Adds a role.
    role_add(name) = pb::AuthRoleAddRequest { name };
    /// Removes a role.
    role_delete(role) = pb::AuthRoleDeleteRequest { role };
}

impl Auth {
    /// Whether auth is on.
    ///
    /// # Errors
    ///
    /// [`Error`].
    pub async fn status(&self) -> Result<AuthStatus, Error> {
        let answer = self.0.call(pb::AuthStatusRequest {}).await?;
        Ok(AuthStatus {
            enabled: answer.enabled,
            revision: answer.auth_revision,
        })
    }

    /// All users.
    ///
    /// # Errors
    ///
    /// [`Error`].
    pub async fn users(&self) -> Result<Vec<String>, Error> {
        Ok(self.0.call(pb::AuthUserListRequest {}).await?.users)
    }

    /// A user's roles.
    ///
    /// # Errors
    ///
    /// [`Error`].
    pub async fn user_roles(&self, name: impl Into<String>) -> Result<Vec<String>, Error> {
        let request = pb::AuthUserGetRequest { name: name.into() };
        Ok(self.0.call(request).await?.roles)
    }

    /// All roles.
    ///
    /// # Errors
    ///
    /// [`Error`].
    pub async fn roles(&self) -> Result<Vec<String>, Error> {
        Ok(self.0.call(pb::AuthRoleListRequest {}).await?.roles)
    }

    /// A role's permissions.
    ///
    /// # Errors
    ///
    /// [`Error`].
    pub async fn role_permissions(
        &self,
        role: impl Into<String>,
    ) -> Result<Vec<Permission>, Error> {
        let request = pb::AuthRoleGetRequest { role: role.into() };
        let answer = self.0.call(request).await?;
        answer.perm.into_iter().map(Permission::from_wire).collect()
    }

    /// Lets a role do something.
    ///
    /// # Errors
    ///
    /// [`Error`].
    pub async fn role_grant(
        &self,
        role: impl Into<String>,
        right: Right,
        keys: impl Into<Keys>,
    ) -> Result<(), Error> {
        let keys = keys.into();
        let request = pb::AuthRoleGrantPermissionRequest {
            name: role.into(),
            perm: Some(authpb::Permission {
                perm_type: match right {
                    Right::Read => authpb::permission::Type::Read,
                    Right::Write => authpb::permission::Type::Write,
                    Right::ReadWrite => authpb::permission::Type::Readwrite,
                }
                .into(),
                key: keys.key,
                range_end: keys.end,
            }),
        };
        self.0.call(request).await?;
        Ok(())
    }

    /// Takes a role's permission on exactly these keys.
    ///
    /// # Errors
    ///
    /// [`Error`].
    pub async fn role_revoke(
        &self,
        role: impl Into<String>,
        keys: impl Into<Keys>,
    ) -> Result<(), Error> {
        let keys = keys.into();
        let request = pb::AuthRoleRevokePermissionRequest {
            role: role.into(),
            key: keys.key,
            range_end: keys.end,
        };
        self.0.call(request).await?;
        Ok(())
    }
}

impl Permission {
    fn from_wire(permission: authpb::Permission) -> Result<Self, Error> {
        let right = match permission.perm_type() {
            authpb::permission::Type::Read => Right::Read,
            authpb::permission::Type::Write => Right::Write,
            authpb::permission::Type::Readwrite => Right::ReadWrite,
        };
        if i32::from(permission.perm_type()) != permission.perm_type {
            return Err(Error::protocol("a permission of an unknown kind"));
        }
        Ok(Self {
            right,
            keys: Keys::range(permission.key.into_bytes(), permission.range_end),
        })
    }
}
