//! The hash by which members compare their stores, of a file.

use std::path::Path;

use cairn_backend::{Backend, BackendOptions, LmdbEngine, LmdbOptions};
use cairn_mvcc::{CompactionPoint, ReadAt, Revision, Store};
use serde::Serialize;
use tempfile::TempDir;

use crate::error::Error;
use crate::etcd_database::EtcdDatabase;
use crate::load::Loading;
use crate::progress::Progress;

/// A hash of a file's keys at a revision; its JSON is etcd's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct FileHash {
    /// The hash.
    pub hash: u32,
    /// The revision that it is of.
    #[serde(rename = "hashRevision")]
    pub revision: i64,
    /// How far history was compacted; -1 if never.
    #[serde(rename = "compactRevision")]
    pub compacted: i64,
}

/// Hashes the keys of a database file of etcd's; `revision` 0 is the last. The file stays as it is:
/// its rows are read into a temporary database, for which there must be room.
///
/// # Errors
///
/// [`Error`].
pub fn hash_kv(path: &Path, revision: i64, progress: &mut dyn Progress) -> Result<FileHash, Error> {
    let file = EtcdDatabase::open(path)?;
    let scratch = TempDir::new().map_err(Error::io(&std::env::temp_dir()))?;
    let mut loading = Loading::begin(scratch.path())?;
    progress.begin("reading", file.bytes());
    file.rows_for_cairn(&mut |table, key, value| {
        progress.advance((key.len() + value.len()) as u64);
        loading.row(table, key, value)
    })?;
    loading.finish()?;
    let store = open_store(scratch.path())?;
    let at = match revision {
        0 => ReadAt::Latest,
        other => ReadAt::Revision(Revision::from_wire(other).map_err(Error::database)?),
    };
    let hash = store.hash_kv(at).map_err(Error::database)?;
    Ok(FileHash {
        hash: hash.hash,
        revision: hash.revision.to_wire(),
        compacted: hash.compacted.map_or(-1, CompactionPoint::to_wire),
    })
}

/// The store of a database that nobody uses.
fn open_store(directory: &Path) -> Result<Store, Error> {
    let engine = LmdbEngine::open(directory, LmdbOptions::default()).map_err(Error::database)?;
    let backend = Backend::open(engine, BackendOptions::default()).map_err(Error::database)?;
    Store::restore(backend).map_err(Error::database)
}
