//! A read that is allowed, until it has been answered.

use cairn_auth::{AuthError, AuthInfo, AuthStore};

/// Says that a caller may read what it asks for. Its holder reads, and then asks whether users and
/// roles are still those that allowed it, as etcd does: else nobody could say which allowed it.
#[must_use = "what was read is confirmed before it is told"]
#[derive(Debug)]
pub(crate) struct Permit {
    auth_info: Option<AuthInfo>,
}

impl Permit {
    /// For `auth_info`, whose read has been checked.
    pub(crate) const fn new(auth_info: Option<AuthInfo>) -> Self {
        Self { auth_info }
    }

    /// Checks that users and roles after the read are those before it.
    ///
    /// # Errors
    ///
    /// [`AuthError::AuthOldRevision`].
    pub(crate) fn confirm(self, auth_store: &AuthStore) -> Result<(), AuthError> {
        auth_store.check_unchanged(self.auth_info.as_ref())
    }
}
