//! What log entries do to the rules: etcd's checks in etcd's order, and its count of revisions.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use cairn_backend::BatchTx;
use cairn_proto::authpb::{Permission, UserAddOptions, permission};
use cairn_proto::etcdserverpb::{
    AuthRoleGetRequest, AuthRoleGrantPermissionRequest, AuthRoleRevokePermissionRequest,
    AuthUserAddRequest, AuthUserChangePasswordRequest, AuthUserGetRequest,
    AuthUserGrantRoleRequest, AuthUserRevokeRoleRequest, InternalAuthenticateRequest,
};

use crate::auth_info::AuthInfo;
use crate::error::AuthError;
use crate::key_ranges::is_grantable;
use crate::name::{Name, ROOT};
use crate::record::{RoleRecord, UserRecord};
use crate::request::{Applied, AuthRequest, AuthResponse, TokenChange};
use crate::rights::range_of;
use crate::simple_tokens::SimpleToken;
use crate::store::AuthStore;

impl AuthStore {
    /// Does what an entry at `index` of the log says, on behalf of `auth_info`.
    ///
    /// # Errors
    ///
    /// A refusal; nothing is changed then.
    pub fn apply(
        &mut self,
        request: &AuthRequest,
        auth_info: Option<&AuthInfo>,
        index: u64,
        tx: &mut BatchTx<'_>,
    ) -> Result<Applied, AuthError> {
        if request.needs_admin() {
            self.check_admin(auth_info)?;
        }
        let mut tokens = None;
        let mut response = AuthResponse::Done;
        match request {
            AuthRequest::AuthEnable(_) => self.enable(tx)?,
            AuthRequest::AuthDisable(_) => tokens = self.disable(tx),
            AuthRequest::AuthStatus(_) => response = self.status(),
            AuthRequest::Authenticate(login) => return self.authenticate(login, index),
            AuthRequest::AuthUserAdd(add) => self.user_add(add, tx)?,
            AuthRequest::AuthUserDelete(delete) => {
                tokens = Some(self.user_delete(&delete.name, tx)?);
            }
            AuthRequest::AuthUserGet(get) => response = self.user_get(get, auth_info)?,
            AuthRequest::AuthUserChangePassword(change) => {
                tokens = Some(self.user_change_password(change, tx)?);
            }
            AuthRequest::AuthUserGrantRole(grant) => self.user_grant_role(grant, tx)?,
            AuthRequest::AuthUserRevokeRole(revoke) => self.user_revoke_role(revoke, tx)?,
            AuthRequest::AuthUserList(_) => response = names(self.users.keys()),
            AuthRequest::AuthRoleList(_) => response = names(self.roles.keys()),
            AuthRequest::AuthRoleAdd(add) => self.role_add(&add.name, tx)?,
            AuthRequest::AuthRoleDelete(delete) => self.role_delete(&delete.role, tx)?,
            AuthRequest::AuthRoleGet(get) => response = self.role_get(get, auth_info)?,
            AuthRequest::AuthRoleGrantPermission(grant) => self.role_grant_permission(grant, tx)?,
            AuthRequest::AuthRoleRevokePermission(revoke) => {
                self.role_revoke_permission(revoke, tx)?;
            }
        }
        Ok(Applied { response, tokens })
    }

    /// The one change that does not count: who is let in from now on is told the same revision.
    fn enable(&mut self, tx: &mut BatchTx<'_>) -> Result<(), AuthError> {
        if self.enabled {
            return Ok(());
        }
        let root = self.users.get(ROOT).ok_or(AuthError::RootUserNotExist)?;
        if !root.record.has_role(ROOT) {
            return Err(AuthError::RootRoleNotExist);
        }
        self.set_enabled(true, tx);
        Ok(())
    }

    fn disable(&mut self, tx: &mut BatchTx<'_>) -> Option<TokenChange> {
        if !self.enabled {
            return None;
        }
        self.set_enabled(false, tx);
        self.commit_revision(tx);
        Some(TokenChange::ForgetAll)
    }

    const fn status(&self) -> AuthResponse {
        AuthResponse::Status {
            enabled: self.enabled,
            revision: self.revision,
        }
    }

    /// The password was checked before the log; the API also notices if it was replaced meanwhile.
    fn authenticate(
        &self,
        login: &InternalAuthenticateRequest,
        index: u64,
    ) -> Result<Applied, AuthError> {
        if !self.enabled {
            return Err(AuthError::AuthNotEnabled);
        }
        let (name, user) = self
            .users
            .get_key_value(login.name.as_str())
            .ok_or(AuthError::AuthFailed)?;
        if user.record.is_without_password() {
            return Err(AuthError::AuthFailed);
        }
        let username: Arc<str> = name.as_str().into();
        let info = AuthInfo::new(Arc::clone(&username), self.revision);
        let info = info.ok_or(AuthError::AuthFailed)?;
        let letters = &login.simple_token;
        let token = (!letters.is_empty()).then(|| SimpleToken::new(letters, index));
        let tokens = token.clone();
        Ok(Applied {
            response: AuthResponse::Authenticated { info, token },
            tokens: tokens.map(|token| TokenChange::Assign { token, username }),
        })
    }

    fn user_add(
        &mut self,
        request: &AuthUserAddRequest,
        tx: &mut BatchTx<'_>,
    ) -> Result<(), AuthError> {
        let name = Name::parse(&request.name, AuthError::UserEmpty)?;
        if self.users.contains_key(&name) {
            return Err(AuthError::UserAlreadyExist);
        }
        let options = request.options.unwrap_or_default();
        let password = if options.no_password {
            Bytes::new()
        } else {
            hash(&request.password, &request.hashed_password)?
        };
        let record = UserRecord {
            password,
            roles: Vec::new(),
            options: Some(UserAddOptions { ..options }),
        };
        self.put_user(name, record, tx);
        self.commit_revision(tx);
        Ok(())
    }

    fn user_delete(&mut self, user: &str, tx: &mut BatchTx<'_>) -> Result<TokenChange, AuthError> {
        if self.enabled && user == ROOT {
            return Err(AuthError::InvalidAuthMgmt);
        }
        let (name, _) = self.existing_user(user)?;
        self.delete_user(&name, tx);
        self.commit_revision(tx);
        Ok(TokenChange::ForgetUser(user.into()))
    }

    /// Users may look at themselves.
    fn user_get(
        &self,
        request: &AuthUserGetRequest,
        auth_info: Option<&AuthInfo>,
    ) -> Result<AuthResponse, AuthError> {
        let is_self = auth_info.is_some_and(|auth_info| auth_info.username() == request.name);
        if !is_self {
            self.check_admin(auth_info)?;
        }
        let (_, record) = self.existing_user(&request.name)?;
        Ok(AuthResponse::Names(record.roles))
    }

    fn user_change_password(
        &mut self,
        request: &AuthUserChangePasswordRequest,
        tx: &mut BatchTx<'_>,
    ) -> Result<TokenChange, AuthError> {
        let (name, mut record) = self.existing_user(&request.name)?;
        record.password = if record.is_without_password() {
            Bytes::new()
        } else {
            hash(&request.password, &request.hashed_password)?
        };
        self.put_user(name, record, tx);
        self.commit_revision(tx);
        Ok(TokenChange::ForgetUser(request.name.as_str().into()))
    }

    /// A role that the user has already changes nothing. Role `root` need not exist.
    fn user_grant_role(
        &mut self,
        request: &AuthUserGrantRoleRequest,
        tx: &mut BatchTx<'_>,
    ) -> Result<(), AuthError> {
        let (name, mut record) = self.existing_user(&request.user)?;
        if request.role != ROOT && !self.roles.contains_key(request.role.as_str()) {
            return Err(AuthError::RoleNotFound);
        }
        if record.has_role(&request.role) {
            return Ok(());
        }
        record.roles.push(request.role.clone());
        record.roles.sort_unstable();
        self.put_user(name, record, tx);
        self.commit_revision(tx);
        Ok(())
    }

    fn user_revoke_role(
        &mut self,
        request: &AuthUserRevokeRoleRequest,
        tx: &mut BatchTx<'_>,
    ) -> Result<(), AuthError> {
        if self.enabled && request.name == ROOT && request.role == ROOT {
            return Err(AuthError::InvalidAuthMgmt);
        }
        let (name, mut record) = self.existing_user(&request.name)?;
        if !record.has_role(&request.role) {
            return Err(AuthError::RoleNotGranted);
        }
        record.roles.retain(|role| *role != request.role);
        self.put_user(name, record, tx);
        self.commit_revision(tx);
        Ok(())
    }

    fn role_add(&mut self, role: &str, tx: &mut BatchTx<'_>) -> Result<(), AuthError> {
        let name = Name::parse(role, AuthError::RoleEmpty)?;
        if self.roles.contains_key(&name) {
            return Err(AuthError::RoleAlreadyExist);
        }
        self.put_role(&name, RoleRecord::default(), tx);
        self.commit_revision(tx);
        Ok(())
    }

    fn role_delete(&mut self, role: &str, tx: &mut BatchTx<'_>) -> Result<(), AuthError> {
        if self.enabled && role == ROOT {
            return Err(AuthError::InvalidAuthMgmt);
        }
        let (name, _) = self.existing_role(role)?;
        self.delete_role(&name, tx);
        self.commit_revision(tx);
        Ok(())
    }

    /// Users may look at roles that they have. What role `root` allows is not in its row.
    fn role_get(
        &self,
        request: &AuthRoleGetRequest,
        auth_info: Option<&AuthInfo>,
    ) -> Result<AuthResponse, AuthError> {
        let user = auth_info.and_then(|auth_info| self.users.get(auth_info.username()));
        if !user.is_some_and(|user| user.record.has_role(&request.role)) {
            self.check_admin(auth_info)?;
        }
        let (_, role) = self.existing_role(&request.role)?;
        Ok(AuthResponse::Permissions(if request.role == ROOT {
            vec![Permission {
                perm_type: permission::Type::Readwrite.into(),
                key: Bytes::new(),
                range_end: Bytes::from_static(&[0]),
            }]
        } else {
            role.permissions
        }))
    }

    /// A permission on a range that the role has one for replaces that one.
    ///
    /// etcd looks only at the first permission with that key: of several ranges with one start it
    /// adds the range a second time, and what was to be taken away stays granted.
    fn role_grant_permission(
        &mut self,
        request: &AuthRoleGrantPermissionRequest,
        tx: &mut BatchTx<'_>,
    ) -> Result<(), AuthError> {
        let granted = request.perm.as_ref();
        let granted = granted.ok_or(AuthError::PermissionNotGiven)?;
        if !is_grantable(range_of(granted)) {
            return Err(AuthError::InvalidAuthMgmt);
        }
        let (name, mut role) = self.existing_role(&request.name)?;
        let permissions = &mut role.permissions;
        let same =
            |it: &&mut Permission| it.key == granted.key && it.range_end == granted.range_end;
        if let Some(existing) = permissions.iter_mut().find(same) {
            existing.perm_type = granted.perm_type;
        } else {
            let after = permissions.partition_point(|it| it.key <= granted.key);
            permissions.insert(after, granted.clone());
        }
        self.put_role(&name, role, tx);
        self.commit_revision(tx);
        Ok(())
    }

    fn role_revoke_permission(
        &mut self,
        request: &AuthRoleRevokePermissionRequest,
        tx: &mut BatchTx<'_>,
    ) -> Result<(), AuthError> {
        let (name, mut role) = self.existing_role(&request.role)?;
        let before = role.permissions.len();
        role.permissions
            .retain(|it| it.key != request.key || it.range_end != request.range_end);
        if role.permissions.len() == before {
            return Err(AuthError::PermissionNotGranted);
        }
        self.put_role(&name, role, tx);
        self.commit_revision(tx);
        Ok(())
    }

    fn existing_user(&self, user: &str) -> Result<(Name, UserRecord), AuthError> {
        let found = self.users.get_key_value(user);
        let (name, user) = found.ok_or(AuthError::UserNotFound)?;
        Ok((name.clone(), user.record.clone()))
    }

    fn existing_role(&self, role: &str) -> Result<(Name, RoleRecord), AuthError> {
        let found = self.roles.get_key_value(role);
        let (name, role) = found.ok_or(AuthError::RoleNotFound)?;
        Ok((name.clone(), RoleRecord::clone(role)))
    }
}

fn names<'a>(names: impl Iterator<Item = &'a Name>) -> AuthResponse {
    AuthResponse::Names(names.map(|name| name.as_str().to_owned()).collect())
}

/// The hash that the API has made. A plain password in the log is from before etcd 3.5, and to hash
/// it here would take chance, and a time that the apply loop does not have.
fn hash(password: &str, hashed_password: &str) -> Result<Bytes, AuthError> {
    if !password.is_empty() && hashed_password.is_empty() {
        return Err(AuthError::NoPasswordUser);
    }
    let hash = STANDARD.decode(hashed_password);
    Ok(hash.map_err(|_| AuthError::NoPasswordUser)?.into())
}
