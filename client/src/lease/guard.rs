//! A lease that is renewed as long as somebody holds on to it.

use std::future::Future;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::time::{sleep_until, timeout_at};

use super::Leases;
use super::clock::{Duty, LeaseClock};
use crate::client::Client;
use crate::clock::now;
use crate::error::Error;
use crate::revision::LeaseId;

/// A lease that is renewed, at whatever member answers, until this is dropped or it is lost. All
/// leases of a client share one stream.
///
/// It counts as lost by this program's own clock, counted from the sending of the last renewal
/// that was answered: never later than the server lets it end, so that who checks
/// [`LeaseGuard::is_alive`] before an action does not act on a lease that somebody else has
/// followed, unless the program is paused between the two. Against that, fence: compare the
/// revision of a key of the lease in the transaction that acts.
#[derive(Debug)]
pub struct LeaseGuard {
    client: Client,
    id: LeaseId,
    state: watch::Receiver<LeaseClock>,
    revokes: bool,
}

impl Leases {
    /// Grants a lease and keeps it alive.
    ///
    /// # Errors
    ///
    /// [`Error`], if it cannot be granted.
    pub async fn keep(&self, ttl: Duration) -> Result<LeaseGuard, Error> {
        let sent = now();
        let grant = self.grant(ttl).await?;
        Ok(LeaseGuard::new(
            self.0.clone(),
            grant.id,
            LeaseClock::new(sent, grant.ttl),
        ))
    }

    /// Keeps a lease alive that was granted before.
    ///
    /// # Errors
    ///
    /// [`Error::LeaseLost`] if there is no such lease, or [`Error`].
    pub async fn keep_existing(&self, id: LeaseId) -> Result<LeaseGuard, Error> {
        let sent = now();
        let ttl = self.keep_alive_once(id).await?.ok_or(Error::LeaseLost)?;
        Ok(LeaseGuard::new(
            self.0.clone(),
            id,
            LeaseClock::new(sent, ttl),
        ))
    }
}

impl LeaseGuard {
    fn new(client: Client, id: LeaseId, clock: LeaseClock) -> Self {
        Self {
            state: client.keeper().add(&client, id, clock),
            client,
            id,
            revokes: false,
        }
    }

    /// Revokes the lease when this is dropped, so that its keys go at once and not when it ends.
    #[must_use]
    pub fn revoke_on_drop(mut self) -> Self {
        self.revokes = true;
        self
    }

    /// The lease.
    #[must_use]
    pub fn id(&self) -> LeaseId {
        self.id
    }

    /// Whether it surely has not ended at the server.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        let mut clock = *self.state.borrow();
        clock.duty(now()) != Duty::Lost
    }

    /// Until when it surely lives, if it is not renewed any more.
    #[must_use]
    pub fn alive_until(&self) -> Instant {
        self.state.borrow().ends()
    }

    /// Returns when the lease counts as lost.
    pub async fn lost(&self) {
        let mut state = self.state.clone();
        loop {
            let mut clock = *state.borrow_and_update();
            if clock.duty(now()) == Duty::Lost {
                return;
            }
            // Whatever the keeper does, it is over at the end.
            let changed = timeout_at(clock.ends().into(), state.changed()).await;
            if let Ok(Err(_)) = changed {
                sleep_until(clock.ends().into()).await;
                return;
            }
        }
    }

    /// Runs a future as long as the lease lives; if it is lost first, the future is dropped.
    ///
    /// # Errors
    ///
    /// [`Error::LeaseLost`].
    pub async fn run<F: Future>(&self, future: F) -> Result<F::Output, Error> {
        tokio::select! {
            biased;
            () = self.lost() => Err(Error::LeaseLost),
            output = future => Ok(output),
        }
    }

    /// Ends the lease: its keys are deleted.
    ///
    /// # Errors
    ///
    /// [`Error`].
    pub async fn revoke(mut self) -> Result<(), Error> {
        self.revokes = false;
        self.client.leases().revoke(self.id).await
    }
}

impl Drop for LeaseGuard {
    fn drop(&mut self) {
        // Outside a runtime there is nobody to do it; the lease ends by itself.
        if self.revokes
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            let leases = self.client.leases();
            let id = self.id;
            runtime.spawn(async move { leases.revoke(id).await });
        }
    }
}
