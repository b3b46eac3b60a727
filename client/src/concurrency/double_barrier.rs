//! A double barrier: so many begin together and end together.

use bytes::Bytes;

use super::own_key::OwnKey;
use super::rw_lock::create_unique;
use super::session::Session;
use super::waiting::{deleted, written};
use crate::error::Error;
use crate::into_bytes::IntoBytes;
use crate::keys::Keys;
use crate::kv::{KeyValue, Order, RangeResponse, SortBy};

/// See [`Session::double_barrier`].
#[derive(Clone, Debug)]
pub struct DoubleBarrier {
    session: Session,
    key: Bytes,
    count: usize,
}

/// A place within a double barrier, which is left by [`Entered::leave`] or by dropping it.
#[derive(Debug)]
#[must_use = "who drops it has left"]
pub struct Entered {
    barrier: DoubleBarrier,
    own: OwnKey,
}

impl Session {
    /// A barrier at a key for so many, as Go's `recipe.DoubleBarrier`.
    pub fn double_barrier(&self, key: impl IntoBytes, count: usize) -> DoubleBarrier {
        DoubleBarrier {
            session: self.clone(),
            key: key.into_bytes(),
            count,
        }
    }
}

impl DoubleBarrier {
    /// Waits until all have come.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] if so many have entered already; [`Error::LeaseLost`] if the session is
    /// over first, or [`Error`].
    pub async fn enter(&self) -> Result<Entered, Error> {
        self.session.run_fallible(self.come()).await
    }

    async fn come(&self) -> Result<Entered, Error> {
        if self.waiters().await?.kvs.len() >= self.count {
            return Err(self.is_full());
        }
        let own = create_unique(&self.session, &self.waiters_prefix()).await?;
        let created = own.created();
        let entered = Entered {
            barrier: self.clone(),
            own,
        };
        let waiters = self.waiters().await?.kvs;
        let last = self.count.checked_sub(1).and_then(|at| waiters.get(at));
        match last.map(|last| created.cmp(&last.create_revision)) {
            Some(std::cmp::Ordering::Greater) => {
                entered.own.remove().await?;
                return Err(self.is_full());
            }
            Some(std::cmp::Ordering::Equal) => {
                self.session.client().put(self.ready(), "").await?;
            }
            Some(std::cmp::Ordering::Less) | None => {
                written(self.session.client(), Keys::one(self.ready()), created).await?;
            }
        }
        Ok(entered)
    }

    fn is_full(&self) -> Error {
        Error::invalid(
            "double barrier",
            format!("{} have entered already", self.count),
        )
    }

    fn waiters_prefix(&self) -> Vec<u8> {
        [&self.key[..], b"/waiters"].concat()
    }

    fn ready(&self) -> Vec<u8> {
        [&self.key[..], b"/ready"].concat()
    }

    /// Who has entered, in their order.
    async fn waiters(&self) -> Result<RangeResponse, Error> {
        let keys = Keys::prefix(self.waiters_prefix());
        let range = self.session.client().range(keys);
        range.sort(SortBy::CreateRevision, Order::Ascending).await
    }
}

impl Entered {
    /// Leaves, and waits until all have left.
    ///
    /// The first to have entered stays until all others have gone, each of whom goes and waits for
    /// the first: so each waits for one key.
    ///
    /// # Errors
    ///
    /// [`Error::LeaseLost`] if the session is over first, or [`Error`].
    pub async fn leave(self) -> Result<(), Error> {
        let session = self.barrier.session.clone();
        let client = session.client();
        let Self { barrier, own } = self;
        let mut own = Some(own);
        let leaving = async {
            loop {
                let waiters = barrier.waiters().await?;
                let (Some(first), Some(last)) = (waiters.kvs.first(), waiters.kvs.last()) else {
                    return Ok(());
                };
                let is_first = |kv: &KeyValue, own: &OwnKey| kv.key == own.key();
                match own.take() {
                    Some(key) if is_first(first, &key) && waiters.kvs.len() == 1 => {
                        client.delete(barrier.ready()).await?;
                        return key.remove().await;
                    }
                    Some(key) if is_first(first, &key) => {
                        own = Some(key);
                        deleted(client, &last.key, waiters.header.revision).await?;
                    }
                    Some(key) => {
                        key.remove().await?;
                        deleted(client, &first.key, waiters.header.revision).await?;
                    }
                    None => deleted(client, &first.key, waiters.header.revision).await?,
                }
            }
        };
        session.run_fallible(leaving).await
    }
}
