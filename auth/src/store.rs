//! The rules as they are: restored from the tables, asked by the API and by the apply loop.

use std::sync::Arc;

use bytes::Bytes;
use cairn_backend::{BatchTx, DamagedRow, ReadError, ReadTx, RowsChecksum, Table};
use cairn_index::KeyRange;
use im::OrdMap;

use crate::auth_info::{AuthInfo, AuthRevision};
use crate::error::AuthError;
use crate::name::Name;
use crate::record::{RoleRecord, UserRecord};
use crate::rights::{Access, Rights};

/// Keys of [`Table::Auth`] and the values of the first, as etcd has them.
const ENABLED_KEY: &[u8] = b"authEnabled";
const REVISION_KEY: &[u8] = b"authRevision";
const ENABLED: &[u8] = &[1];
const DISABLED: &[u8] = &[0];

/// Users, roles and whether they count.
///
/// A clone is a snapshot, made in O(1).
///
/// Invariants:
/// 1. What is here is what the tables hold, once the batch in which it was changed has ended.
/// 2. The rights of each user are the permissions of its roles, merged.
/// 3. The checksums are those of the rows of `users` and `roles`.
#[derive(Clone)]
pub struct AuthStore {
    pub(crate) enabled: bool,
    pub(crate) revision: AuthRevision,
    pub(crate) users: OrdMap<Name, Arc<User>>,
    pub(crate) roles: OrdMap<Name, Arc<RoleRecord>>,
    users_checksum: RowsChecksum,
    roles_checksum: RowsChecksum,
}

/// The checksums of the tables of an [`AuthStore`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuthChecksums {
    /// Of table `auth`.
    pub facts: RowsChecksum,
    /// Of table `authUsers`.
    pub users: RowsChecksum,
    /// Of table `authRoles`.
    pub roles: RowsChecksum,
}

/// A user, and what it may do.
pub(crate) struct User {
    pub(crate) record: UserRecord,
    rights: Rights,
}

/// What a password is checked against.
#[derive(Clone, PartialEq, Eq)]
pub struct Password {
    /// bcrypt's hash.
    pub hash: Bytes,
    /// The rules at the time: if they are others when the login is applied, it is checked again.
    pub revision: AuthRevision,
}

impl Default for AuthStore {
    fn default() -> Self {
        Self {
            enabled: false,
            revision: AuthRevision::FIRST,
            users: OrdMap::new(),
            roles: OrdMap::new(),
            users_checksum: RowsChecksum::default(),
            roles_checksum: RowsChecksum::default(),
        }
    }
}

impl AuthStore {
    /// Reads the tables.
    ///
    /// # Errors
    ///
    /// [`ReadError::Damaged`] for the first row that is no good, or the backend's.
    pub fn restore(tx: &ReadTx) -> Result<Self, ReadError> {
        let mut store = Self {
            enabled: read_enabled(tx)?,
            revision: read_revision(tx)?,
            ..Self::default()
        };
        read_named(tx, Table::AuthRoles, |name, row| {
            let role = RoleRecord::decode(&name, row)?;
            store.roles_checksum.add(name.as_key(), &role.encode(&name));
            store.roles.insert(name, Arc::new(role));
            Ok(())
        })?;
        let mut users = OrdMap::new();
        read_named(tx, Table::AuthUsers, |name, row| {
            let record = UserRecord::decode(&name, row)?;
            store
                .users_checksum
                .add(name.as_key(), &record.encode(&name));
            users.insert(name, Arc::new(store.user(record)));
            Ok(())
        })?;
        store.users = users;
        Ok(store)
    }

    /// The checksums of the tables, as their rows are to be for what is here.
    #[must_use]
    pub fn checksums(&self) -> AuthChecksums {
        let mut facts = RowsChecksum::default();
        // What says the same as no row does not count.
        if self.enabled {
            facts.add(ENABLED_KEY, ENABLED);
        }
        if self.revision > AuthRevision::FIRST {
            facts.add(REVISION_KEY, &self.revision.get().to_be_bytes());
        }
        AuthChecksums {
            facts,
            users: self.users_checksum,
            roles: self.roles_checksum,
        }
    }

    /// Whether authentication is on. If not, everybody may do everything.
    #[must_use]
    pub const fn is_enabled(&self) -> bool {
        self.enabled
    }

    /// The revision of the rules.
    #[must_use]
    pub const fn revision(&self) -> AuthRevision {
        self.revision
    }

    /// Checks that `auth_info` may do `access` to the keys of `range`.
    ///
    /// # Errors
    ///
    /// [`AuthError::UserEmpty`] for nobody, [`AuthError::AuthOldRevision`] for who was let in under
    /// other rules, [`AuthError::PermissionDenied`] else.
    pub fn check_range(
        &self,
        auth_info: Option<&AuthInfo>,
        range: &KeyRange,
        access: Access,
    ) -> Result<(), AuthError> {
        if !self.enabled {
            return Ok(());
        }
        let auth_info = auth_info.ok_or(AuthError::UserEmpty)?;
        if auth_info.revision() < self.revision {
            return Err(AuthError::AuthOldRevision);
        }
        match self.users.get(auth_info.username()) {
            Some(user) if user.rights.permit(range, access) => Ok(()),
            _ => Err(AuthError::PermissionDenied),
        }
    }

    /// Checks that `auth_info` has role `root`.
    ///
    /// # Errors
    ///
    /// [`AuthError::UserEmpty`], [`AuthError::UserNotFound`] or [`AuthError::PermissionDenied`].
    pub fn check_admin(&self, auth_info: Option<&AuthInfo>) -> Result<(), AuthError> {
        if !self.enabled {
            return Ok(());
        }
        let auth_info = auth_info.ok_or(AuthError::UserEmpty)?;
        let user = self.users.get(auth_info.username());
        match &user.ok_or(AuthError::UserNotFound)?.rights {
            Rights::All => Ok(()),
            Rights::Keys { .. } => Err(AuthError::PermissionDenied),
        }
    }

    /// Checks that somebody asks, whoever it is.
    ///
    /// # Errors
    ///
    /// [`AuthError::UserEmpty`].
    pub fn check_somebody(&self, auth_info: Option<&AuthInfo>) -> Result<(), AuthError> {
        if self.enabled && auth_info.is_none() {
            return Err(AuthError::UserEmpty);
        }
        Ok(())
    }

    /// Checks that nothing has changed since `auth_info` was let in: a read is checked before it reads, and
    /// so again after it.
    ///
    /// # Errors
    ///
    /// [`AuthError::AuthOldRevision`].
    pub fn check_unchanged(&self, auth_info: Option<&AuthInfo>) -> Result<(), AuthError> {
        if auth_info.is_some_and(|auth_info| auth_info.revision() != self.revision) {
            return Err(AuthError::AuthOldRevision);
        }
        Ok(())
    }

    /// What the password of a login is to be checked against.
    ///
    /// # Errors
    ///
    /// [`AuthError::AuthNotEnabled`], [`AuthError::AuthFailed`] for a user that there is not, or
    /// [`AuthError::NoPasswordUser`] for one that logs in by certificate.
    pub fn password_of(&self, username: &str) -> Result<Password, AuthError> {
        if !self.enabled {
            return Err(AuthError::AuthNotEnabled);
        }
        let user = self.users.get(username).ok_or(AuthError::AuthFailed)?;
        if user.record.is_without_password() {
            return Err(AuthError::NoPasswordUser);
        }
        Ok(Password {
            hash: user.record.password.clone(),
            revision: self.revision,
        })
    }

    /// A user with the rights that its roles give it now.
    pub(crate) fn user(&self, record: UserRecord) -> User {
        let rights = Rights::merge(&record.roles, |role| {
            self.roles
                .get(role)
                .map_or(&[], |role| role.permissions.as_slice())
        });
        User { record, rights }
    }

    /// Stores a user, in place of what there was.
    pub(crate) fn put_user(&mut self, name: Name, record: UserRecord, tx: &mut BatchTx<'_>) {
        if let Some(before) = self.users.get(&name) {
            let row = before.record.encode(&name);
            self.users_checksum.remove(name.as_key(), &row);
        }
        let row = record.encode(&name);
        self.users_checksum.add(name.as_key(), &row);
        tx.put(Table::AuthUsers, name.as_key(), row);
        let user = self.user(record);
        self.users.insert(name, Arc::new(user));
    }

    pub(crate) fn delete_user(&mut self, name: &Name, tx: &mut BatchTx<'_>) {
        tx.delete(Table::AuthUsers, name.as_key());
        if let Some(before) = self.users.remove(name) {
            self.users_checksum
                .remove(name.as_key(), &before.record.encode(name));
        }
    }

    /// Stores a role, in place of what there was, and gives its users their new rights.
    pub(crate) fn put_role(&mut self, name: &Name, role: RoleRecord, tx: &mut BatchTx<'_>) {
        let row = role.encode(name);
        self.roles_checksum.add(name.as_key(), &row);
        tx.put(Table::AuthRoles, name.as_key(), row);
        if let Some(before) = self.roles.insert(name.clone(), Arc::new(role)) {
            self.roles_checksum
                .remove(name.as_key(), &before.encode(name));
        }
        for (user, record) in self.users_with(name) {
            let user_with_rights = self.user(record);
            self.users.insert(user, Arc::new(user_with_rights));
        }
    }

    /// Deletes a role, and takes it from its users.
    pub(crate) fn delete_role(&mut self, name: &Name, tx: &mut BatchTx<'_>) {
        tx.delete(Table::AuthRoles, name.as_key());
        if let Some(before) = self.roles.remove(name) {
            self.roles_checksum
                .remove(name.as_key(), &before.encode(name));
        }
        for (user, mut record) in self.users_with(name) {
            record.roles.retain(|role| role != name.as_str());
            self.put_user(user, record, tx);
        }
    }

    fn users_with(&self, role: &Name) -> Vec<(Name, UserRecord)> {
        let users = self.users.iter();
        users
            .filter(|(_, user)| user.record.has_role(role.as_str()))
            .map(|(name, user)| (name.clone(), user.record.clone()))
            .collect()
    }

    pub(crate) fn set_enabled(&mut self, enabled: bool, tx: &mut BatchTx<'_>) {
        self.enabled = enabled;
        let value = if enabled { ENABLED } else { DISABLED };
        tx.put(Table::Auth, ENABLED_KEY, Bytes::from_static(value));
    }

    /// The rules are others now.
    pub(crate) fn commit_revision(&mut self, tx: &mut BatchTx<'_>) {
        self.revision = self.revision.next();
        let bytes = self.revision.get().to_be_bytes();
        tx.put(Table::Auth, REVISION_KEY, Bytes::copy_from_slice(&bytes));
    }
}

impl std::fmt::Debug for AuthStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AuthStore")
            .field("enabled", &self.enabled)
            .field("revision", &self.revision)
            .finish_non_exhaustive()
    }
}

/// A row that was never written is one of a cluster in which nobody has touched the rules.
fn read_enabled(tx: &ReadTx) -> Result<bool, ReadError> {
    match tx.get(Table::Auth, ENABLED_KEY)?.as_deref() {
        None | Some(DISABLED) => Ok(false),
        Some(ENABLED) => Ok(true),
        Some(_) => Err(DamagedRow::new(Table::Auth, ENABLED_KEY, "neither on nor off").into()),
    }
}

fn read_revision(tx: &ReadTx) -> Result<AuthRevision, ReadError> {
    let Some(stored) = tx.get(Table::Auth, REVISION_KEY)? else {
        return Ok(AuthRevision::FIRST);
    };
    let number = stored.as_ref().try_into().map(u64::from_be_bytes);
    let revision = number.ok().and_then(AuthRevision::from_wire);
    let damaged = || DamagedRow::new(Table::Auth, REVISION_KEY, "not a revision of 8 bytes");
    Ok(revision.ok_or_else(damaged)?)
}

fn read_named(
    tx: &ReadTx,
    table: Table,
    mut read: impl FnMut(Name, &[u8]) -> Result<(), String>,
) -> Result<(), ReadError> {
    tx.read_table(table, |key, row| {
        let name = std::str::from_utf8(key).map_err(|error| error.to_string())?;
        let name = Name::parse(name, AuthError::UserEmpty).map_err(|error| error.to_string())?;
        read(name, row)
    })
}
