//! Reading one key.

use std::future::IntoFuture;

use bytes::Bytes;

use super::range::Range;
use super::{InTxn, KeyValue};
use crate::client::Client;
use crate::error::Error;
use crate::into_bytes::IntoBytes;
use crate::keys::Keys;
use crate::revision::Revision;
use crate::unfold::BoxFuture;

/// A read of one key; awaited, an `Option<KeyValue>`.
#[derive(Clone, Debug)]
#[must_use = "a request is sent when it is awaited"]
pub struct Get<C = InTxn>(Range<C>);

impl Get {
    /// A read within a transaction.
    pub fn new(key: impl IntoBytes) -> Self {
        Self::of(InTxn, key.into_bytes())
    }
}

impl<C> Get<C> {
    pub(super) fn of(client: C, key: Bytes) -> Self {
        Self(Range::of(client, Keys::one(key)))
    }

    /// Reads the past.
    pub fn at(self, revision: Revision) -> Self {
        Self(self.0.at(revision))
    }

    /// Is content with what one member knows, which may be old.
    pub fn serializable(self) -> Self {
        Self(self.0.serializable())
    }

    pub(super) fn into_range(self) -> Range<C> {
        self.0
    }
}

impl IntoFuture for Get<Client> {
    type Output = Result<Option<KeyValue>, Error>;
    type IntoFuture = BoxFuture<Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move { Ok(self.0.await?.kvs.into_iter().next()) })
    }
}
