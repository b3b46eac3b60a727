//! Who may ask a member for what.

use cairn_auth::{AuthError, AuthInfo};
use cairn_index::KeyRange;
use cairn_replica::apply::permission::Permission;

use super::Member;
use crate::member::auth::{Caller, Permit};
use crate::member::error::Error;

impl Member {
    /// Who a caller is; none is nobody, or that authentication is off.
    ///
    /// # Errors
    ///
    /// [`AuthError::InvalidAuthToken`].
    pub(crate) async fn auth_info(&self, caller: &Caller) -> Result<Option<AuthInfo>, Error> {
        let patience = self.limits.request_timeout;
        Ok(self
            .auth
            .auth_info(caller, &self.progress, patience)
            .await?)
    }

    /// Refuses whoever is not root.
    ///
    /// # Errors
    ///
    /// The refusal.
    pub(crate) async fn check_admin(&self, caller: &Caller) -> Result<(), Error> {
        let auth_info = self.auth_info(caller).await?;
        Ok(self.auth.auth_store().check_admin(auth_info.as_ref())?)
    }

    /// Refuses whoever does not say who it is.
    ///
    /// # Errors
    ///
    /// The refusal.
    pub(crate) async fn check_somebody(&self, caller: &Caller) -> Result<(), Error> {
        let auth_info = self.auth_info(caller).await?;
        Ok(self.auth.auth_store().check_somebody(auth_info.as_ref())?)
    }

    /// Allows a read that passes `check`; see [`Member::confirm`].
    ///
    /// # Errors
    ///
    /// The refusal.
    pub(crate) async fn permit(
        &self,
        caller: &Caller,
        check: impl FnOnce(Permission<'_>) -> Result<(), AuthError>,
    ) -> Result<Permit, Error> {
        let auth_info = self.auth_info(caller).await?;
        let auth_store = self.auth.auth_store();
        check(Permission {
            auth_store: &auth_store,
            auth_info: auth_info.as_ref(),
        })?;
        Ok(Permit::new(auth_info))
    }

    /// Allows a read of a range.
    ///
    /// # Errors
    ///
    /// The refusal.
    pub(crate) async fn permit_range(
        &self,
        range: &KeyRange,
        caller: &Caller,
    ) -> Result<Permit, Error> {
        self.permit(caller, |permission| permission.read(range))
            .await
    }

    /// Checks, after a read, that the rules are still those that allowed it.
    ///
    /// # Errors
    ///
    /// [`AuthError::AuthOldRevision`].
    pub(crate) fn confirm(&self, permit: Permit) -> Result<(), Error> {
        Ok(permit.confirm(&self.auth.auth_store())?)
    }
}
