//! What is in a snapshot file: what `etcdutl snapshot status` says.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};
use std::path::Path;

use cairn_backend::Table;
use cairn_mvcc::{BucketKey, ChangeKind, KvFields};
use serde::Serialize;

use crate::error::Error;
use crate::etcd_database::EtcdDatabase;
use crate::progress::Progress;

/// What is in a snapshot file; its JSON is etcd's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SnapshotStatus {
    /// CRC-32C over the names of all buckets and their rows.
    pub hash: u32,
    /// The last revision.
    pub revision: i64,
    /// How many keys are there at it.
    #[serde(rename = "totalKey")]
    pub total_keys: usize,
    /// The length of the database.
    #[serde(rename = "totalSize")]
    pub total_bytes: u64,
    /// The version of its format; empty before etcd 3.6.
    pub version: String,
}

/// Checks all of a snapshot file, and says what is in it.
///
/// Takes 16 bytes of memory and a bit for each key that is there.
///
/// # Errors
///
/// [`Error`], if it is damaged.
pub fn snapshot_status(path: &Path, progress: &mut dyn Progress) -> Result<SnapshotStatus, Error> {
    let file = EtcdDatabase::open(path)?;
    file.database().check().map_err(Error::bolt(path))?;
    progress.begin("reading", file.bytes());
    let mut status = SnapshotStatus {
        hash: 0,
        revision: 0,
        total_keys: 0,
        total_bytes: file.bytes(),
        version: file.storage_version()?,
    };
    let mut seen = SeenKeys::default();
    file.buckets(&mut |name, bucket| {
        status.hash = crc32c::crc32c_append(status.hash, name);
        let is_key = name == Table::Key.name().as_bytes();
        file.rows(name, bucket, &mut |key, value| {
            status.hash = crc32c::crc32c_append(status.hash, &key);
            status.hash = crc32c::crc32c_append(status.hash, &value);
            progress.advance((key.len() + value.len()) as u64);
            if is_key {
                let bad = |error| Error::row("key", &key, error);
                let (at, kind) = BucketKey::decode(&key).map_err(|error| bad(error.to_string()))?;
                let fields = KvFields::parse(&value).map_err(|error| bad(error.to_string()))?;
                status.revision = at.main.to_wire();
                seen.note(fields.key, kind);
            }
            Ok(())
        })
    })?;
    status.total_keys = seen.0.len();
    Ok(status)
}

/// The keys that are there, each by 128 bits of two random hashes.
#[derive(Default)]
struct SeenKeys(HashSet<u128>, (RandomState, RandomState));

impl SeenKeys {
    fn note(&mut self, key: &[u8], kind: ChangeKind) {
        let (high, low) = (self.1.0.hash_one(key), self.1.1.hash_one(key));
        let mark = u128::from(high) << 64 | u128::from(low);
        match kind {
            ChangeKind::Put => self.0.insert(mark),
            ChangeKind::Delete => self.0.remove(&mark),
        };
    }
}
