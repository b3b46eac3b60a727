//! Deleting keys.

use std::future::IntoFuture;

use bytes::Bytes;
use cairn_proto::etcdserverpb as pb;

use super::key_value::all_from_wire;
use super::{Header, InTxn, KeyValue};
use crate::client::Client;
use crate::error::Error;
use crate::keys::Keys;
use crate::unfold::BoxFuture;

/// A deletion; awaited, a [`DeleteResponse`].
#[derive(Clone, Debug)]
#[must_use = "a request is sent when it is awaited"]
pub struct Delete<C = InTxn> {
    client: C,
    keys: Keys,
    with_previous: bool,
}

/// What came of a deletion.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeleteResponse {
    /// Who answered. Where nothing was deleted, the revision is the store's, which stayed.
    pub header: Header,
    /// How many keys were deleted.
    pub deleted: u64,
    /// The versions that were deleted, if they were asked for.
    pub previous: Vec<KeyValue>,
}

impl Delete {
    /// A deletion within a transaction.
    pub fn new(keys: impl Into<Keys>) -> Self {
        Self::of(InTxn, keys.into())
    }
}

impl<C> Delete<C> {
    pub(super) fn of(client: C, keys: Keys) -> Self {
        Self {
            client,
            keys,
            with_previous: false,
        }
    }

    /// Asks for the versions that are deleted.
    pub fn previous(mut self) -> Self {
        self.with_previous = true;
        self
    }

    pub(super) fn to_wire(&self, namespace: &Bytes) -> pb::DeleteRangeRequest {
        let keys = self.keys.within(namespace);
        pb::DeleteRangeRequest {
            key: keys.key,
            range_end: keys.end,
            prev_kv: self.with_previous,
        }
    }
}

impl DeleteResponse {
    pub(super) fn from_wire(
        answer: pb::DeleteRangeResponse,
        outer: Option<Header>,
        namespace: &Bytes,
    ) -> Result<Self, Error> {
        Ok(Self {
            header: match outer {
                Some(outer) => outer.of_part(answer.header.as_ref()),
                None => Header::from_wire(answer.header)?,
            },
            deleted: u64::try_from(answer.deleted)
                .map_err(|_| Error::protocol("a count below zero"))?,
            previous: all_from_wire(answer.prev_kvs, namespace)?,
        })
    }
}

impl IntoFuture for Delete<Client> {
    type Output = Result<DeleteResponse, Error>;
    type IntoFuture = BoxFuture<Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let namespace = self.client.namespace_prefix();
            let answer = self.client.call(self.to_wire(namespace)).await?;
            DeleteResponse::from_wire(answer, None, namespace)
        })
    }
}
