//! Who asks, and whether they may: the API's half of authentication.
//!
//! A [`Caller`] is made once, where a call comes in, from what it brings: a token, or its client
//! certificate's name. Whatever a member does for somebody takes the caller as an argument, so that no
//! method can forget to ask. [`Auth`] finds out who the caller is and holds the rules as they are now,
//! a snapshot that is read without a lock. Writes are checked when they are applied, by every member
//! alike (`cairn_replica::apply::permission`); reads and what never reaches the log are checked here.

mod caller;
mod certificate;
mod jwt;
mod passwords;
mod permit;
mod tokens;

#[cfg(any(test, feature = "fuzzing"))]
pub(crate) use jwt::fuzz_token;

use std::sync::Arc;
use std::time::Duration;

use arc_swap::{ArcSwap, Guard};
use cairn_auth::{AuthError, AuthInfo, AuthStore, ROOT, TokenChange};

pub(crate) use caller::Caller;
pub(crate) use certificate::{ClientCertificate, CommonName};
pub(crate) use passwords::{CredentialError, Passwords, Secret};
pub(crate) use permit::Permit;
pub(crate) use tokens::Tokens;

use crate::member::Progress;
use crate::member::error::Error;

/// What a member knows of users, and of those who say that they are one.
pub(crate) struct Auth {
    /// The rules, as the apply thread publishes them.
    pub auth_store: Arc<ArcSwap<AuthStore>>,
    /// The tokens that are accepted.
    pub tokens: Tokens,
    /// Where passwords are hashed and checked.
    pub passwords: Passwords,
}

impl Auth {
    /// The rules as they are now.
    pub(crate) fn auth_store(&self) -> Guard<Arc<AuthStore>> {
        self.auth_store.load()
    }

    /// Finds out who a caller is; none is nobody. While authentication is off, nobody is asked.
    ///
    /// A simple token may be of an entry that this member has yet to apply: that is waited for, but
    /// not longer than `patience`.
    ///
    /// # Errors
    ///
    /// [`AuthError::InvalidAuthToken`].
    pub(crate) async fn auth_info(
        &self,
        caller: &Caller,
        progress: &Progress,
        patience: Duration,
    ) -> Result<Option<AuthInfo>, AuthError> {
        if !self.auth_store().is_enabled() {
            return Ok(None);
        }
        if caller.is_the_member() {
            return Ok(AuthInfo::new(ROOT.into(), self.auth_store().revision()));
        }
        if let Some(token) = caller.token() {
            let token = token.ok_or(AuthError::InvalidAuthToken)?;
            let resolved = self
                .tokens
                .resolve(token, &self.auth_store, progress, patience);
            return resolved.await.map(Some);
        }
        let name = caller.common_name();
        Ok(name.and_then(|name| AuthInfo::new(name, self.auth_store().revision())))
    }

    /// Does to the tokens what applied entries say. It comes before their answers leave.
    pub(crate) fn change_tokens(&self, changes: Vec<TokenChange>) {
        self.tokens.change(changes);
    }

    /// Checks a login's password, and answers with the revision of the rules that it was checked
    /// under.
    ///
    /// # Errors
    ///
    /// [`AuthError::AuthFailed`] for a wrong password, other refusals for users that have none, and
    /// [`CredentialError`].
    pub(crate) async fn check_password(
        &self,
        username: &str,
        password: &Arc<Secret>,
    ) -> Result<cairn_auth::AuthRevision, Error> {
        let expected = self.auth_store().password_of(username)?;
        if self
            .passwords
            .verify(username, password, expected.hash)
            .await?
        {
            return Ok(expected.revision);
        }
        tracing::info!(user = username, "invalid password");
        Err(AuthError::AuthFailed.into())
    }
}
