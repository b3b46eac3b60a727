//! Keys and values: reads, writes, transactions, compaction.
//!
//! A request is a value of its own, built by methods, and used in one of two ways: a client's
//! method makes one that is sent when it is awaited (`client.put("a", "1").await`), and `new` makes
//! one for a transaction (`Put::new("a", "1")`). The type parameter says which of both it is.

mod chunks;
mod compact;
mod compare;
mod delete;
mod get;
mod key_value;
mod pages;
mod put;
mod range;
mod txn;

pub use chunks::RangeChunks;
pub use compact::Compact;
pub use compare::{Compare, CompareNumber, CompareValue};
pub use delete::{Delete, DeleteResponse};
pub use get::Get;
pub(crate) use key_value::strip;
pub use key_value::{Header, KeyValue};
pub use put::{Put, PutResponse};
pub use range::{Order, Range, RangeResponse, SortBy};
pub use txn::{Op, OpResponse, Txn, TxnResponse};

use crate::client::Client;
use crate::into_bytes::IntoBytes;
use crate::keys::Keys;
use crate::revision::Revision;

/// Of a request that is part of a transaction.
#[derive(Clone, Copy, Debug, Default)]
pub struct InTxn;

impl Client {
    /// Reads one key: awaited, it is the key's value with its revisions, or `None`.
    pub fn get(&self, key: impl IntoBytes) -> Get<Self> {
        Get::of(self.clone(), key.into_bytes())
    }

    /// Reads keys: awaited, it is all of them at once; [`Range::stream`] and [`Range::pages`]
    /// read many in bounded memory.
    pub fn range(&self, keys: impl Into<Keys>) -> Range<Self> {
        Range::of(self.clone(), keys.into())
    }

    /// Writes a key.
    pub fn put(&self, key: impl IntoBytes, value: impl IntoBytes) -> Put<Self> {
        Put::of(self.clone(), key.into_bytes(), value.into_bytes())
    }

    /// Deletes keys.
    pub fn delete(&self, keys: impl Into<Keys>) -> Delete<Self> {
        Delete::of(self.clone(), keys.into())
    }

    /// Compares, and then does one of two lists of operations, as one revision.
    ///
    /// ```no_run
    /// # async fn run(client: cairn_client::Client) -> Result<(), cairn_client::Error> {
    /// use cairn_client::{Compare, Get, Put};
    ///
    /// let answer = client
    ///     .txn()
    ///     .when(Compare::missing("config"))
    ///     .then(Put::new("config", "default"))
    ///     .otherwise(Get::new("config"))
    ///     .await?;
    /// println!("created: {}", answer.succeeded);
    /// # Ok(())
    /// # }
    /// ```
    pub fn txn(&self) -> Txn<Self> {
        Txn::of(self.clone())
    }

    /// Forgets what was before a revision: reads and watches from there fail from then on.
    pub fn compact(&self, revision: Revision) -> Compact {
        Compact::of(self.clone(), revision)
    }
}
