//! A key with its value, and what comes with every answer.

use bytes::Bytes;
use cairn_proto::{etcdserverpb as pb, mvccpb};

use crate::error::Error;
use crate::revision::{LeaseId, Revision};

/// One version of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyValue {
    /// The key, without the client's namespace.
    pub key: Bytes,
    /// The value; empty where only keys were asked for.
    pub value: Bytes,
    /// The revision that created the key in its present life.
    pub create_revision: Revision,
    /// The revision that wrote this version.
    pub mod_revision: Revision,
    /// The number of writes since creation, from 1.
    pub version: u64,
    /// The lease that takes the key with it when it ends.
    pub lease: Option<LeaseId>,
}

impl KeyValue {
    /// The value, if it is text.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        std::str::from_utf8(&self.value).ok()
    }

    pub(crate) fn from_wire(kv: mvccpb::KeyValue, namespace: &Bytes) -> Result<Self, Error> {
        Ok(Self {
            key: strip(kv.key, namespace)?,
            value: kv.value,
            create_revision: Revision::from_wire(kv.create_revision)?,
            mod_revision: Revision::from_wire(kv.mod_revision)?,
            version: u64::try_from(kv.version)
                .map_err(|_| Error::protocol("a version below zero"))?,
            lease: LeaseId::new(kv.lease),
        })
    }
}

/// A key as the program knows it.
pub(crate) fn strip(mut key: Bytes, namespace: &Bytes) -> Result<Bytes, Error> {
    if !key.starts_with(namespace) {
        return Err(Error::protocol("a key from outside the namespace"));
    }
    Ok(key.split_off(namespace.len()))
}

pub(super) fn all_from_wire(
    kvs: Vec<mvccpb::KeyValue>,
    namespace: &Bytes,
) -> Result<Vec<KeyValue>, Error> {
    let decoded = kvs.into_iter().map(|kv| KeyValue::from_wire(kv, namespace));
    decoded.collect()
}

/// What a member says of itself with every answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The cluster.
    pub cluster_id: u64,
    /// The member that answered.
    pub member_id: u64,
    /// The revision of the store: of a write, the revision that it made; of a read, the store's
    /// when it was served.
    pub revision: Revision,
    /// Raft's term at the member.
    pub raft_term: u64,
}

impl Header {
    pub(crate) fn from_wire(header: Option<pb::ResponseHeader>) -> Result<Self, Error> {
        let header = header.ok_or_else(|| Error::protocol("an answer without a header"))?;
        Ok(Self {
            cluster_id: header.cluster_id,
            member_id: header.member_id,
            revision: Revision::from_wire(header.revision)?,
            raft_term: header.raft_term,
        })
    }

    /// The header of a part of a transaction's answer, which carries its revision alone.
    pub(super) fn of_part(self, header: Option<&pb::ResponseHeader>) -> Self {
        let revision = header.and_then(|header| Revision::new(header.revision));
        Self {
            revision: revision.unwrap_or(self.revision),
            ..self
        }
    }
}
