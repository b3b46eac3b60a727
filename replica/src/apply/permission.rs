//! Whether a caller may do what a request says: etcd's rules, for the API and for the log alike.
//!
//! Each key that a request looks at, by comparing and by asking for what was there before too, needs
//! the right to read; each that it writes, the right to write. Of a transaction everything is
//! checked, at any depth and on both branches, whichever is taken (CVE-2026-33343).

use bytes::Bytes;
use cairn_auth::{Access, AuthError, AuthInfo, AuthStore};
use cairn_index::KeyRange;
use cairn_mvcc::LeaseId;

use crate::request::{DeleteRange, Operation, Put, Set, Txn};

/// The keys that are attached to a lease; none if there is no such lease.
pub type KeysOfLease<'a> = &'a dyn Fn(LeaseId) -> Vec<Bytes>;

/// What a caller is checked by.
#[derive(Clone, Copy)]
pub struct Permission<'a> {
    /// The rules.
    pub auth_store: &'a AuthStore,
    /// The caller; none is nobody.
    pub auth_info: Option<&'a AuthInfo>,
}

impl Permission<'_> {
    /// Checks a read.
    ///
    /// # Errors
    ///
    /// The refusal.
    pub fn read(&self, range: &KeyRange) -> Result<(), AuthError> {
        self.auth_store
            .check_range(self.auth_info, range, Access::Read)
    }

    fn write(&self, range: &KeyRange) -> Result<(), AuthError> {
        self.auth_store
            .check_range(self.auth_info, range, Access::Write)
    }

    /// Checks a put.
    ///
    /// # Errors
    ///
    /// The refusal.
    pub fn put(&self, put: &Put, keys_of_lease: KeysOfLease<'_>) -> Result<(), AuthError> {
        let key = KeyRange::One(put.key.clone());
        self.write(&key)?;
        if let Set::To(Some(lease)) = put.lease {
            self.lease_writes(lease, keys_of_lease)?;
        }
        if put.prev_kv {
            self.read(&key)?;
        }
        Ok(())
    }

    /// Checks a delete.
    ///
    /// # Errors
    ///
    /// The refusal.
    pub fn delete_range(&self, delete: &DeleteRange) -> Result<(), AuthError> {
        self.write(&delete.range)?;
        if delete.prev_kv {
            self.read(&delete.range)?;
        }
        Ok(())
    }

    /// Checks all that a transaction might do.
    ///
    /// # Errors
    ///
    /// The first refusal.
    pub fn txn(&self, txn: &Txn, keys_of_lease: KeysOfLease<'_>) -> Result<(), AuthError> {
        if !self.auth_store.is_enabled() {
            return Ok(());
        }
        for compare in &txn.compares {
            self.read(&compare.range)?;
        }
        for operation in txn.success.iter().chain(&txn.failure) {
            match operation {
                Operation::Range(range) => self.read(&range.query.range)?,
                Operation::Put(put) => self.put(put, keys_of_lease)?,
                Operation::DeleteRange(delete) => self.delete_range(delete)?,
                Operation::Txn(nested) => self.txn(nested, keys_of_lease)?,
            }
        }
        Ok(())
    }

    /// Checks that the keys of a lease may be deleted, as its end would: who revokes it, and who
    /// attaches another key, must be allowed to.
    ///
    /// # Errors
    ///
    /// The first refusal.
    pub fn lease_writes(
        &self,
        lease: LeaseId,
        keys_of_lease: KeysOfLease<'_>,
    ) -> Result<(), AuthError> {
        self.each_key(lease, keys_of_lease, Access::Write)
    }

    /// Checks that the keys of a lease may be looked at.
    ///
    /// # Errors
    ///
    /// The first refusal.
    pub fn lease_reads(
        &self,
        lease: LeaseId,
        keys_of_lease: KeysOfLease<'_>,
    ) -> Result<(), AuthError> {
        self.each_key(lease, keys_of_lease, Access::Read)
    }

    /// Root is asked nothing else, not even whether the rules are still the same: expiry revokes on
    /// root's behalf.
    fn each_key(
        &self,
        lease: LeaseId,
        keys_of_lease: KeysOfLease<'_>,
        access: Access,
    ) -> Result<(), AuthError> {
        if self.auth_store.check_admin(self.auth_info).is_ok() {
            return Ok(());
        }
        keys_of_lease(lease).into_iter().try_for_each(|key| {
            let key = KeyRange::One(key);
            self.auth_store.check_range(self.auth_info, &key, access)
        })
    }
}
