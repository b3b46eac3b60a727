//! A queue whose elements have priorities.

use bytes::Bytes;

use super::queue::dequeue;
use crate::client::Client;
use crate::error::Error;
use crate::into_bytes::IntoBytes;
use crate::keys::Keys;
use crate::kv::{Compare, Order, Put, SortBy};

/// See [`Client::priority_queue`].
#[derive(Clone, Debug)]
pub struct PriorityQueue {
    client: Client,
    prefix: Bytes,
}

impl Client {
    /// A queue with priorities under a prefix; its keys are those of Go's `recipe.PriorityQueue`.
    pub fn priority_queue(&self, prefix: impl IntoBytes) -> PriorityQueue {
        PriorityQueue {
            client: self.clone(),
            prefix: prefix.into_bytes(),
        }
    }
}

impl PriorityQueue {
    /// Puts something in. Lower numbers come out first; of the same number, the oldest.
    ///
    /// # Errors
    ///
    /// [`Error`]; after [`Error::Ambiguous`] it may be in the queue.
    pub async fn enqueue(&self, value: impl IntoBytes, priority: u16) -> Result<(), Error> {
        let value = value.into_bytes();
        let of_priority = [&self.prefix[..], format!("/{priority:05}").as_bytes()].concat();
        let keys = Keys::prefix([&of_priority[..], b"/"].concat());
        // Changes with each element of this priority, so that a number is given once.
        let base = [b"__", &of_priority[..]].concat();
        loop {
            let last = self
                .client
                .range(keys.clone())
                .sort(SortBy::Key, Order::Descending);
            let last = last.keys_only().limit(1).await?;
            let number = match last.kvs.first() {
                None => 0,
                Some(kv) => number_of(&kv.key)?.saturating_add(1),
            };
            let key = [&of_priority[..], format!("/{number:016}").as_bytes()].concat();
            let seen = i64::from(last.header.revision).saturating_add(1);
            let txn = self
                .client
                .txn()
                .when(Compare::mod_revision(&base).less(seen))
                .then(Put::new(&base, ""))
                .then(Put::new(&key, &value));
            if txn.await?.succeeded {
                return Ok(());
            }
        }
    }

    /// Takes the first out, and waits for one if there is none.
    ///
    /// # Errors
    ///
    /// [`Error`]; after [`Error::Ambiguous`] it may be gone all the same.
    pub async fn dequeue(&self) -> Result<Bytes, Error> {
        let keys = Keys::prefix([&self.prefix[..], b"/"].concat());
        dequeue(&self.client, self.client.range(keys)).await
    }
}

fn number_of(key: &[u8]) -> Result<u64, Error> {
    let digits = key.rsplit(|byte| *byte == b'/').next();
    let number = digits.and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok());
    number.ok_or_else(|| Error::invalid(format!("key {key:?}"), "it is no element of a queue"))
}
