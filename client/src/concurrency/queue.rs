//! A queue: first in, first out, for any number of programs at both ends.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use bytes::Bytes;

use super::waiting::written;
use crate::client::Client;
use crate::error::Error;
use crate::into_bytes::IntoBytes;
use crate::keys::Keys;
use crate::kv::{Compare, Delete, KeyValue, Order, Put, Range, SortBy};
use crate::revision::Revision;

/// See [`Client::queue`].
#[derive(Clone, Debug)]
pub struct Queue {
    client: Client,
    prefix: Bytes,
}

impl Client {
    /// A queue under a prefix; its keys are those of Go's `recipe.Queue`.
    pub fn queue(&self, prefix: impl IntoBytes) -> Queue {
        Queue {
            client: self.clone(),
            prefix: prefix.into_bytes(),
        }
    }
}

/// A name that is new: the time in nanoseconds, as the recipes have it.
pub(super) fn unique() -> String {
    static LAST: AtomicU64 = AtomicU64::new(0);
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let now = now.map_or(0, |since| {
        u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
    });
    // Two calls within the clock's step get different names, in their order.
    let next = |last: u64| Some(now.max(last.saturating_add(1)));
    let last = LAST.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next);
    now.max(last.unwrap_or_default().saturating_add(1))
        .to_string()
}

impl Queue {
    /// Puts something in.
    ///
    /// # Errors
    ///
    /// [`Error`]; after [`Error::Ambiguous`] it may be in the queue.
    pub async fn enqueue(&self, value: impl IntoBytes) -> Result<(), Error> {
        let value = value.into_bytes();
        loop {
            let key = [&self.prefix[..], b"/", unique().as_bytes()].concat();
            let txn = self
                .client
                .txn()
                .when(Compare::missing(&key))
                .then(Put::new(&key, &value));
            if txn.await?.succeeded {
                return Ok(());
            }
        }
    }

    /// Takes the oldest out, and waits for one if there is none. Each is taken by one caller;
    /// after [`Error::Ambiguous`] it may be gone all the same.
    ///
    /// # Errors
    ///
    /// [`Error`].
    pub async fn dequeue(&self) -> Result<Bytes, Error> {
        let prefix = Keys::prefix([&self.prefix[..], b"/"].concat());
        let first = self
            .client
            .range(prefix)
            .sort(SortBy::ModRevision, Order::Ascending);
        dequeue(&self.client, first).await
    }
}

/// Takes the first of some keys in their order out, or waits for one.
pub(super) async fn dequeue(client: &Client, first: Range<Client>) -> Result<Bytes, Error> {
    loop {
        // More than one, as others may take the same at the same time.
        let some = first.clone().limit(8).await?;
        for kv in some.kvs {
            if claim(client, &kv).await? {
                return Ok(kv.value);
            }
        }
        if !some.more {
            let keys = first.keys().clone();
            wait_after(client, keys, some.header.revision).await?;
        }
    }
}

async fn wait_after(client: &Client, keys: Keys, revision: Revision) -> Result<(), Error> {
    written(client, keys, revision).await.map(drop)
}

async fn claim(client: &Client, kv: &KeyValue) -> Result<bool, Error> {
    let same = Compare::mod_revision(&kv.key).equals(kv.mod_revision);
    let claimed = client.txn().when(same).then(Delete::new(&kv.key)).await?;
    Ok(claimed.succeeded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_new_and_in_the_order_of_calls() {
        let names: Vec<u64> = (0..1000).map(|_| unique().parse().unwrap()).collect();
        assert!(names.is_sorted_by(|a, b| a < b));
    }
}
