//! Leases: granted, asked about, revoked.

mod clock;
mod guard;
mod keeper;

use std::time::Duration;

use bytes::Bytes;
use cairn_proto::etcdserverpb as pb;
use tokio::time::{sleep, timeout};

use crate::balance::retry;
use crate::client::{Client, to_error};
use crate::error::Error;
use crate::etcd_error::EtcdError;
use crate::kv;
use crate::revision::LeaseId;
use crate::transport::CallFailure;

pub(crate) const KEEP_ALIVE: &str = "/etcdserverpb.Lease/LeaseKeepAlive";

pub use guard::LeaseGuard;

pub(crate) use keeper::{Keeper, Keepers};

/// The calls about leases; see [`Client::leases`].
#[derive(Clone, Debug)]
pub struct Leases(pub(crate) Client);

/// A lease that was granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grant {
    /// Its name.
    pub id: LeaseId,
    /// How long it lives without being renewed; the server may have raised it.
    pub ttl: Duration,
}

/// What a lease has left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remaining {
    /// Its name.
    pub id: LeaseId,
    /// How long it lives from now without being renewed.
    pub remaining: Duration,
    /// How long it lives from each renewal.
    pub granted: Duration,
    /// The keys on it, if they were asked for.
    pub keys: Vec<Bytes>,
}

impl Client {
    /// The calls about leases.
    #[must_use]
    pub fn leases(&self) -> Leases {
        Leases(self.clone())
    }
}

impl Leases {
    /// Grants a lease that lives so long without being renewed. Seconds count; what is left over
    /// is rounded up.
    ///
    /// # Errors
    ///
    /// [`Error`].
    pub async fn grant(&self, ttl: Duration) -> Result<Grant, Error> {
        self.grant_numbered(ttl, 0).await
    }

    /// Grants a lease with a name of the caller's.
    ///
    /// # Errors
    ///
    /// [`Error`]; [`EtcdError::LeaseExists`](crate::EtcdError::LeaseExists) if there is one already.
    pub async fn grant_as(&self, id: LeaseId, ttl: Duration) -> Result<Grant, Error> {
        self.grant_numbered(ttl, id.get()).await
    }

    async fn grant_numbered(&self, ttl: Duration, id: i64) -> Result<Grant, Error> {
        let seconds = ttl.as_secs() + u64::from(ttl.subsec_nanos() > 0);
        let request = pb::LeaseGrantRequest {
            ttl: i64::try_from(seconds).unwrap_or(i64::MAX),
            id,
        };
        let answer = self.0.call(request).await?;
        Ok(Grant {
            id: LeaseId::from_wire(answer.id)?,
            ttl: seconds_of(answer.ttl),
        })
    }

    /// Ends a lease: its keys are deleted.
    ///
    /// # Errors
    ///
    /// [`Error`]; [`EtcdError::LeaseNotFound`](crate::EtcdError::LeaseNotFound) if there is none.
    pub async fn revoke(&self, id: LeaseId) -> Result<(), Error> {
        let request = pb::LeaseRevokeRequest { id: id.get() };
        let first = self.0.call(request).await;
        if !first.as_ref().is_err_and(Error::is_ambiguous) {
            return first.map(drop);
        }
        // It is asked for again; if it is gone now, that was this call's doing, or it is as good.
        match self.0.call(request).await {
            Err(error) if error.etcd() == Some(EtcdError::LeaseNotFound) => Ok(()),
            ended => ended.map(drop),
        }
    }

    /// What a lease has left; `None` if there is no such lease.
    ///
    /// # Errors
    ///
    /// [`Error`].
    pub async fn time_to_live(&self, id: LeaseId) -> Result<Option<Remaining>, Error> {
        self.ask(id, false).await
    }

    /// The same with the keys on it.
    ///
    /// # Errors
    ///
    /// [`Error`].
    pub async fn time_to_live_with_keys(&self, id: LeaseId) -> Result<Option<Remaining>, Error> {
        self.ask(id, true).await
    }

    async fn ask(&self, id: LeaseId, keys: bool) -> Result<Option<Remaining>, Error> {
        let request = pb::LeaseTimeToLiveRequest { id: id.get(), keys };
        let answer = self.0.call(request).await?;
        if answer.ttl < 0 {
            return Ok(None);
        }
        let namespace = self.0.namespace_prefix();
        let keys = answer.keys.into_iter();
        // Keys of others on the same lease are not this client's.
        let own = keys.filter(|key| key.starts_with(namespace));
        let keys: Result<_, Error> = own.map(|key| kv::strip(key, namespace)).collect();
        Ok(Some(Remaining {
            id: LeaseId::from_wire(answer.id)?,
            remaining: seconds_of(answer.ttl),
            granted: seconds_of(answer.granted_ttl),
            keys: keys?,
        }))
    }

    /// Renews a lease once, and returns how long it lives from then; `None` if there is no such
    /// lease.
    ///
    /// # Errors
    ///
    /// [`Error`].
    pub async fn keep_alive_once(&self, id: LeaseId) -> Result<Option<Duration>, Error> {
        let limit = self.0.request_timeout();
        let renewed = timeout(limit, self.renew(id)).await;
        renewed.unwrap_or_else(|_| Err(to_error(CallFailure::TimedOut, limit)))
    }

    async fn renew(&self, id: LeaseId) -> Result<Option<Duration>, Error> {
        let mut failed = Vec::new();
        loop {
            let (mut requests, mut replies, place) =
                self.0.open_stream(KEEP_ALIVE, &failed).await?;
            let asked = requests.send(&pb::LeaseKeepAliveRequest { id: id.get() });
            let answer = match asked {
                Ok(()) => replies.next::<pb::LeaseKeepAliveResponse>().await,
                Err(failure) => Err(failure),
            };
            match answer {
                Ok(Some(answer)) => return Ok((answer.ttl > 0).then(|| seconds_of(answer.ttl))),
                Ok(None) => {}
                Err(failure) => self.0.stream_failed(&place, &failure)?,
            }
            failed.push(place.id);
            sleep(retry::wait_after(
                u32::try_from(failed.len()).unwrap_or(u32::MAX),
                1,
            ))
            .await;
        }
    }

    /// All leases of the cluster.
    ///
    /// # Errors
    ///
    /// [`Error`].
    pub async fn list(&self) -> Result<Vec<LeaseId>, Error> {
        let answer = self.0.call(pb::LeaseLeasesRequest {}).await?;
        let leases = answer.leases.iter().map(|it| LeaseId::from_wire(it.id));
        leases.collect()
    }
}

/// A time to live off the wire.
pub(crate) fn seconds_of(ttl: i64) -> Duration {
    Duration::from_secs(u64::try_from(ttl).unwrap_or(0))
}
