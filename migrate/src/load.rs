//! Filling a new database of Cairn's, row after row.

use std::path::Path;

use cairn_backend::{
    Applied, Backend, BackendOptions, Engine, Incoming, LmdbEngine, LmdbOptions, Table,
};
use cairn_mvcc::{Restored, Store};
use cairn_replica::state::write_checksum;

use crate::data_dir::create_private;
use crate::error::Error;
use crate::etcd_database::EtcdDatabase;
use crate::progress::Progress;

/// Reads a database file of etcd's into a new database in `directory`, with all that it says: also members,
/// and where in the log it is.
///
/// # Errors
///
/// [`Error`].
pub fn load(file: &Path, directory: &Path, progress: &mut dyn Progress) -> Result<Store, Error> {
    let file = EtcdDatabase::open(file)?;
    let mut loading = Loading::begin(directory)?;
    progress.begin("loading", file.bytes());
    file.rows_for_cairn(&mut |table, key, value| {
        progress.advance((key.len() + value.len()) as u64);
        loading.row(table, key, value)
    })?;
    loading.finish_member(directory)
}

/// How much is written in one transaction.
const CHUNK_BYTES: usize = 4 << 20;

/// A database that is being filled. Nothing is there until [`Loading::finish`].
pub(crate) struct Loading {
    engine: LmdbEngine,
    incoming: Box<dyn Incoming>,
    table: Table,
    rows: Vec<(Vec<u8>, Vec<u8>)>,
    bytes: usize,
}

impl Loading {
    /// Begins a database in `directory`, which is created.
    pub(crate) fn begin(directory: &Path) -> Result<Self, Error> {
        create_private(directory)?;
        let engine =
            LmdbEngine::open(directory, LmdbOptions::default()).map_err(Error::database)?;
        let incoming = engine.receive().map_err(Error::database)?;
        Ok(Self {
            engine,
            incoming,
            table: Table::Alarm,
            rows: Vec::new(),
            bytes: 0,
        })
    }

    /// Adds a row. Within a table keys ascend.
    pub(crate) fn row(&mut self, table: Table, key: &[u8], value: &[u8]) -> Result<(), Error> {
        if table != self.table || self.bytes >= CHUNK_BYTES {
            self.flush()?;
            self.table = table;
        }
        self.bytes += key.len() + value.len();
        self.rows.push((key.to_vec(), value.to_vec()));
        Ok(())
    }

    /// Makes what was added the database of a member, durably: with the checksum that a start compares
    /// all tables with. What cannot be read is found now, not at that start.
    pub(crate) fn finish_member(self, directory: &Path) -> Result<Store, Error> {
        self.finish()?;
        let engine =
            LmdbEngine::open(directory, LmdbOptions::default()).map_err(Error::database)?;
        let backend = Backend::open(engine, BackendOptions::default()).map_err(Error::database)?;
        let restored = Restored::read(backend).map_err(Error::database)?;
        write_checksum(&restored.store, restored.leases).map_err(Error::database)?;
        restored.store.backend().commit().map_err(Error::database)?;
        Ok(restored.store)
    }

    /// Makes what was added the database, durably.
    pub(crate) fn finish(mut self) -> Result<(), Error> {
        self.flush()?;
        // A name for the time in between, no more.
        let name = Applied::default();
        self.incoming.finish(name).map_err(Error::database)?;
        self.engine.install(name).map_err(Error::database)?;
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Error> {
        let rows: Vec<_> = self
            .rows
            .iter()
            .map(|(key, value)| (key.as_slice(), value.as_slice()))
            .collect();
        self.incoming
            .append(self.table, &rows)
            .map_err(Error::database)?;
        self.rows.clear();
        self.bytes = 0;
        Ok(())
    }
}
