//! Writing a key.

use std::future::IntoFuture;

use bytes::Bytes;
use cairn_proto::etcdserverpb as pb;

use super::{Header, InTxn, KeyValue};
use crate::client::Client;
use crate::error::Error;
use crate::into_bytes::IntoBytes;
use crate::revision::LeaseId;
use crate::unfold::BoxFuture;

/// A write of one key; awaited, a [`PutResponse`].
#[derive(Clone, Debug)]
#[must_use = "a request is sent when it is awaited"]
pub struct Put<C = InTxn> {
    client: C,
    request: pb::PutRequest,
}

/// What came of a write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PutResponse {
    /// Who answered; the revision is the write's.
    pub header: Header,
    /// The version before, if it was asked for and there was one.
    pub previous: Option<KeyValue>,
}

impl Put {
    /// A write within a transaction.
    pub fn new(key: impl IntoBytes, value: impl IntoBytes) -> Self {
        Self::of(InTxn, key.into_bytes(), value.into_bytes())
    }
}

impl<C> Put<C> {
    pub(super) fn of(client: C, key: Bytes, value: Bytes) -> Self {
        let request = pb::PutRequest {
            key,
            value,
            ..pb::PutRequest::default()
        };
        Self { client, request }
    }

    /// Has the key deleted when a lease ends. Without this, the key leaves a lease that it had.
    pub fn lease(mut self, lease: LeaseId) -> Self {
        self.request.lease = lease.get();
        self
    }

    /// Asks for the version before.
    pub fn previous(mut self) -> Self {
        self.request.prev_kv = true;
        self
    }

    /// Keeps the value and changes the lease alone; the key must be there, the value given empty.
    pub fn keep_value(mut self) -> Self {
        self.request.ignore_value = true;
        self
    }

    /// Keeps the lease that the key has; the key must be there.
    pub fn keep_lease(mut self) -> Self {
        self.request.ignore_lease = true;
        self
    }

    pub(super) fn into_wire(mut self, namespace: &Bytes) -> pb::PutRequest {
        if !namespace.is_empty() {
            self.request.key = [namespace, &self.request.key[..]].concat().into();
        }
        self.request
    }
}

impl PutResponse {
    pub(super) fn from_wire(
        answer: pb::PutResponse,
        outer: Option<Header>,
        namespace: &Bytes,
    ) -> Result<Self, Error> {
        let previous = answer.prev_kv.map(|kv| KeyValue::from_wire(kv, namespace));
        Ok(Self {
            header: match outer {
                Some(outer) => outer.of_part(answer.header.as_ref()),
                None => Header::from_wire(answer.header)?,
            },
            previous: previous.transpose()?,
        })
    }
}

impl IntoFuture for Put<Client> {
    type Output = Result<PutResponse, Error>;
    type IntoFuture = BoxFuture<Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let client = self.client.clone();
            let namespace = client.namespace_prefix();
            let answer = client.call(self.into_wire(namespace)).await?;
            PutResponse::from_wire(answer, None, namespace)
        })
    }
}
