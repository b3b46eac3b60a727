//! A base: a whole database, as etcd's file in pieces.
//!
//! Its pieces are written first, then the object that says what it is: where that is missing there is no
//! base. The file is what a snapshot is, but for leases: their rows keep the field that is Cairn's alone,
//! on which it depends whether later entries end them.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::Path;

use bytes::Bytes;
use prost::Message;
use ring::digest::{Context, SHA256};

use crate::error::Error;
use crate::name::{BaseId, Names, Sequence};
use crate::record::{Position, wire};
use crate::sealed::{Key, open};
use crate::store::Store;

/// How much of a base's file is one object.
pub(crate) const PART_BYTES: usize = 4 << 20;

/// A whole database in a backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Base {
    pub(crate) id: BaseId,
    /// The checksum of the object before the first after it.
    pub(crate) previous: Bytes,
    pub(crate) timeline: Sequence,
    pub(crate) position: Position,
    pub(crate) bytes: u64,
    pub(crate) parts: u64,
    pub(crate) digest: Bytes,
}

#[derive(Clone, PartialEq, Message)]
struct WireBase {
    #[prost(bytes = "bytes", tag = "1")]
    previous: Bytes,
    #[prost(uint64, tag = "2")]
    timeline: u64,
    #[prost(message, tag = "3")]
    position: Option<wire::Position>,
    #[prost(uint64, tag = "4")]
    bytes: u64,
    #[prost(uint64, tag = "5")]
    parts: u64,
    #[prost(bytes = "bytes", tag = "6")]
    digest: Bytes,
}

impl Base {
    /// The revision of the store in it.
    #[must_use]
    pub const fn revision(&self) -> u64 {
        self.position.revision
    }

    /// When it was made, in milliseconds since 1970.
    #[must_use]
    pub const fn time_ms(&self) -> u64 {
        self.position.time_ms
    }

    /// The last log entry in it.
    #[must_use]
    pub const fn index(&self) -> u64 {
        self.position.index.get()
    }

    /// The length of its file.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Which stretch of history without a gap it belongs to.
    #[must_use]
    pub const fn timeline(&self) -> u64 {
        self.timeline.0
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let wire = WireBase {
            previous: self.previous.clone(),
            timeline: self.timeline.0,
            position: Some(wire::Position::of(&self.position)),
            bytes: self.bytes,
            parts: self.parts,
            digest: self.digest.clone(),
        };
        wire.encode_to_vec()
    }

    pub(crate) fn decode(name: &str, id: BaseId, content: Bytes) -> Result<Self, Error> {
        let wire = WireBase::decode(content).map_err(|error| Error::damaged(name, error))?;
        let position = wire.position;
        let position =
            position.ok_or_else(|| Error::damaged(name, "it does not say where it is"))?;
        Ok(Self {
            id,
            previous: wire.previous,
            timeline: Sequence(wire.timeline),
            position: position.position(),
            bytes: wire.bytes,
            parts: wire.parts,
            digest: wire.digest,
        })
    }

    /// Writes its file to `path`, and checks that it is what was backed up.
    pub(crate) fn fetch(
        &self,
        store: &dyn Store,
        names: Names,
        key: Option<&Key>,
        path: &Path,
        advance: &mut dyn FnMut(u64),
    ) -> Result<(), Error> {
        let failed = Error::io(path);
        let mut file = BufWriter::new(File::create(path).map_err(&failed)?);
        let mut sum = Context::new(&SHA256);
        let mut bytes = 0;
        for number in 0..self.parts {
            let name = names.part(self.id, number);
            let Some(object) = store.get(&name)? else {
                return Err(Error::Missing { name });
            };
            let content = open(&name, &object, key)?.content;
            sum.update(&content);
            bytes += content.len() as u64;
            file.write_all(&content).map_err(&failed)?;
            advance(content.len() as u64);
        }
        file.flush().map_err(&failed)?;
        if bytes != self.bytes || sum.finish().as_ref() != self.digest {
            let name = names.base(self.id);
            return Err(Error::damaged(&name, "its file is not what was written"));
        }
        Ok(())
    }
}
