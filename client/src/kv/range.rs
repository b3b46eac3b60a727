//! Reading keys.

use std::future::IntoFuture;

use bytes::Bytes;
use cairn_proto::etcdserverpb as pb;
use tokio_stream::Stream;

use super::key_value::all_from_wire;
use super::pages::{self, Listing, Pages};
use super::{Header, InTxn, KeyValue};
use crate::client::Client;
use crate::error::Error;
use crate::keys::Keys;
use crate::revision::Revision;
use crate::unfold::BoxFuture;

/// A read of keys; awaited, a [`RangeResponse`].
#[derive(Clone, Debug)]
#[must_use = "a request is sent when it is awaited"]
pub struct Range<C = InTxn> {
    pub(super) client: C,
    pub(super) keys: Keys,
    pub(super) options: pb::RangeRequest,
}

/// The keys that were found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RangeResponse {
    /// Who answered, and the store's revision then.
    pub header: Header,
    /// In the order asked for.
    pub kvs: Vec<KeyValue>,
    /// Whether a limit left some out.
    pub more: bool,
    /// How many there are in the range, limit and filters apart.
    pub count: u64,
}

/// What to sort by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields of a key-value")]
pub enum SortBy {
    Key,
    Version,
    CreateRevision,
    ModRevision,
    Value,
}

/// Which way to sort.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "they say it")]
pub enum Order {
    Ascending,
    Descending,
}

impl Range {
    /// A read within a transaction.
    pub fn new(keys: impl Into<Keys>) -> Self {
        Self::of(InTxn, keys.into())
    }
}

impl<C> Range<C> {
    pub(super) fn of(client: C, keys: Keys) -> Self {
        Self {
            client,
            keys,
            options: pb::RangeRequest::default(),
        }
    }

    /// Reads the past.
    pub fn at(mut self, revision: Revision) -> Self {
        self.options.revision = revision.get();
        self
    }

    /// Returns so many keys at most. Zero is no limit.
    pub fn limit(mut self, keys: u32) -> Self {
        self.options.limit = keys.into();
        self
    }

    /// Is content with what one member knows, which may be old.
    pub fn serializable(mut self) -> Self {
        self.options.serializable = true;
        self
    }

    /// Leaves values out.
    pub fn keys_only(mut self) -> Self {
        self.options.keys_only = true;
        self
    }

    /// Only counts.
    pub fn count_only(mut self) -> Self {
        self.options.count_only = true;
        self
    }

    /// Sorts; without this, keys ascend. By anything but the key the server sorts in memory.
    pub fn sort(mut self, by: SortBy, order: Order) -> Self {
        self.options.sort_target = match by {
            SortBy::Key => pb::range_request::SortTarget::Key,
            SortBy::Version => pb::range_request::SortTarget::Version,
            SortBy::CreateRevision => pb::range_request::SortTarget::Create,
            SortBy::ModRevision => pb::range_request::SortTarget::Mod,
            SortBy::Value => pb::range_request::SortTarget::Value,
        }
        .into();
        self.options.sort_order = match order {
            Order::Ascending => pb::range_request::SortOrder::Ascend,
            Order::Descending => pb::range_request::SortOrder::Descend,
        }
        .into();
        self
    }

    /// Leaves out keys that were changed last before this revision.
    pub fn min_mod_revision(mut self, revision: Revision) -> Self {
        self.options.min_mod_revision = revision.get();
        self
    }

    /// Leaves out keys that were changed last after this revision.
    pub fn max_mod_revision(mut self, revision: Revision) -> Self {
        self.options.max_mod_revision = revision.get();
        self
    }

    /// Leaves out keys that were created before this revision.
    pub fn min_create_revision(mut self, revision: Revision) -> Self {
        self.options.min_create_revision = revision.get();
        self
    }

    /// Leaves out keys that were created after this revision.
    pub fn max_create_revision(mut self, revision: Revision) -> Self {
        self.options.max_create_revision = revision.get();
        self
    }

    pub(super) fn to_wire(&self, namespace: &Bytes) -> pb::RangeRequest {
        let keys = self.keys.within(namespace);
        pb::RangeRequest {
            key: keys.key,
            range_end: keys.end,
            ..self.options.clone()
        }
    }
}

impl Range<Client> {
    /// Reads in pages of so many keys, all at the revision of the first, in bounded memory.
    ///
    /// Pages are in the order of keys; where another order is asked for, there is one page.
    pub fn pages(
        self,
        keys: u32,
    ) -> impl Stream<Item = Result<RangeResponse, Error>> + Send + Unpin {
        pages::pages(Pages::new(self, keys))
    }

    /// Reads as a stream of key-values, all at one revision, in bounded memory: by `RangeStream`
    /// where the server has it (etcd 3.7, Cairn), else in pages. A lost connection is continued
    /// elsewhere, after the last key.
    pub fn stream(self) -> impl Stream<Item = Result<KeyValue, Error>> + Send + Unpin {
        pages::stream(Pages::new(self, pages::PAGE_KEYS))
    }

    /// The same, and at which revision.
    pub(crate) fn listing(self) -> Listing {
        Listing::new(Pages::new(self, pages::PAGE_KEYS))
    }

    pub(crate) fn keys(&self) -> &Keys {
        &self.keys
    }

    pub(super) async fn fetch(&self) -> Result<RangeResponse, Error> {
        let namespace = self.client.namespace_prefix();
        let answer = self.client.call(self.to_wire(namespace)).await?;
        RangeResponse::from_wire(answer, None, namespace)
    }
}

impl RangeResponse {
    /// `outer` is the header of the transaction around it.
    pub(super) fn from_wire(
        answer: pb::RangeResponse,
        outer: Option<Header>,
        namespace: &Bytes,
    ) -> Result<Self, Error> {
        Ok(Self {
            header: match outer {
                Some(outer) => outer.of_part(answer.header.as_ref()),
                None => Header::from_wire(answer.header)?,
            },
            kvs: all_from_wire(answer.kvs, namespace)?,
            more: answer.more,
            count: u64::try_from(answer.count)
                .map_err(|_| Error::protocol("a count below zero"))?,
        })
    }
}

impl IntoFuture for Range<Client> {
    type Output = Result<RangeResponse, Error>;
    type IntoFuture = BoxFuture<Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move { self.fetch().await })
    }
}
