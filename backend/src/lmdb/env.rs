//! One open LMDB file: its tables, its transactions, and a map that grows.
//!
//! LMDB moves the whole map when it grows, which is only allowed while no transaction is open.
//! So every transaction holds the gate for reading, and growth takes it for writing. With the
//! address space that is reserved at opening, growth is for systems that refuse so much.

mod lock_file;
mod snapshot;

use std::cell::Cell;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use heed::types::Bytes;
use heed::{
    CommitOrAbort, Database, EnvFlags, EnvOpenOptions, Error, FlagSetMode, MdbError, PutFlags,
    RwTxn, WithoutTls,
};
use parking_lot::lock_api::ArcRwLockReadGuard;
use parking_lot::{RawRwLock, RwLock};

use crate::buffer::Buffer;
use crate::damaged_row::DamagedRow;
use crate::engine::EngineSize;
use crate::error::{CommitError, OpenError, ReadError};
use crate::lmdb::check::{CheckError, check_branches};
use crate::lmdb::{DamageHook, Directory, LmdbOptions};
use crate::row;
use crate::stored_value::StoredValue;
use crate::table::{PerTable, Table};

use lock_file::LockFile;
pub(super) use snapshot::LmdbSnapshot;

/// Below this, a refused reservation is an error and not a reason to ask for less.
const MAP_BYTES_MIN: usize = 64 * 1024;

/// Map sizes are multiples of this: the page size of every system we know.
const MAP_BYTES_STEP: usize = 64 * 1024;

/// How many tables an environment has room for; LMDB wants the number before it is opened.
pub(super) const TABLES_MAX: u32 = 32;

/// The name of an empty table that says that every row has a checksum.
pub(super) const CHECKSUMS_MARK: &str = "checksums";

const _: () = assert!(Table::COUNT < TABLES_MAX as usize, "every table has room");

/// How long a new reader lets a growing map go first. After that it goes ahead, because the
/// growth may be waiting for a transaction of the reader's own thread.
const GROWTH_PATIENCE: Duration = Duration::from_millis(100);

/// The pages that say which transaction is the last: not data, but always in use.
const META_PAGES: u64 = 2;

type Tables = PerTable<Database<'static, Bytes, Bytes>>;
type Gate = ArcRwLockReadGuard<RawRwLock, ()>;

/// An open LMDB file.
pub(crate) struct Env {
    heed: heed::Env<WithoutTls>,
    tables: Tables,
    /// Whether rows have checksums: all files have, but those of before there were any.
    is_checked: bool,
    on_damage: Option<DamageHook>,
    gate: Arc<RwLock<()>>,
    /// The map could neither be grown nor put back: LMDB must not be touched again.
    map_lost: AtomicBool,
    /// Keeps the directory locked as long as anything reads from it.
    _directory: Arc<Directory>,
}

impl Env {
    /// Opens or creates the file at `path`.
    pub(super) fn open(
        directory: &Arc<Directory>,
        path: &Path,
        options: &LmdbOptions,
    ) -> Result<Self, OpenError> {
        let lock_file = LockFile::place(path)?;
        let heed = reserve(options, path)?;
        lock_file.unlink()?;
        check_length(&heed, path)?;
        check_pages(path)?;
        let (tables, is_checked) =
            open_tables(&heed, options).map_err(|source| OpenError::Lmdb {
                path: path.to_owned(),
                source,
            })?;
        Ok(Self {
            heed,
            tables,
            is_checked,
            on_damage: options.on_damage.clone(),
            gate: Arc::default(),
            map_lost: AtomicBool::new(false),
            _directory: Arc::clone(directory),
        })
    }

    /// The state after the last commit.
    pub(super) fn snapshot(self: &Arc<Self>) -> Result<LmdbSnapshot, ReadError> {
        let gate = self.enter();
        if self.map_lost.load(Ordering::Relaxed) {
            return Err(ReadError::MapLost);
        }
        let txn = self.heed.clone().static_read_txn()?;
        Ok(LmdbSnapshot {
            txn,
            _gate: gate,
            env: Arc::clone(self),
            held: Cell::default(),
        })
    }

    /// Runs `change` in a write transaction and commits it; when the map is full, it grows and
    /// `change` runs again.
    pub(super) fn write(
        &self,
        mut change: impl FnMut(&mut WriteTxn<'_>) -> Result<(), RowError>,
    ) -> Result<(), CommitError> {
        loop {
            let gate = self.enter();
            if self.map_lost.load(Ordering::Relaxed) {
                return Err(CommitError::MapLost);
            }
            let mut txn = WriteTxn {
                txn: self.heed.write_txn().map_err(|error| self.failed(error))?,
                tables: &self.tables,
                sealed: self.is_checked.then(Vec::new),
            };
            let done = change(&mut txn).and_then(|()| Ok(txn.txn.commit()?));
            drop(gate);
            match done {
                Ok(()) => return Ok(()),
                Err(RowError::Lmdb(Error::Mdb(MdbError::MapFull))) => self.grow()?,
                Err(RowError::Lmdb(error)) => return Err(self.failed(error)),
                Err(RowError::Damaged(damaged)) => return Err(damaged.into()),
            }
        }
    }

    /// A row as it is stored, to be opened later.
    fn stored_value<'a>(&'a self, stored: &'a [u8]) -> StoredValue<'a> {
        if self.is_checked {
            StoredValue::sealed(stored, self)
        } else {
            StoredValue::plain(stored)
        }
    }

    /// The value of a stored row.
    pub(super) fn value<'a>(
        &self,
        table: Table,
        key: &[u8],
        stored: &'a [u8],
    ) -> Result<&'a [u8], DamagedRow> {
        if !self.is_checked {
            return Ok(stored);
        }
        self.open_row(table, key, stored)
    }

    /// The value of a row with a checksum, which must be its own.
    #[inline]
    pub(crate) fn open_row<'a>(
        &self,
        table: Table,
        key: &[u8],
        stored: &'a [u8],
    ) -> Result<&'a [u8], DamagedRow> {
        row::open(table, key, stored).ok_or_else(|| {
            let damaged = row::damaged(self.heed.path(), table, key);
            if let Some(DamageHook(tell)) = &self.on_damage {
                tell(&damaged);
            }
            damaged
        })
    }

    /// A failure to write, with the file's path.
    pub(super) fn failed(&self, source: Error) -> CommitError {
        CommitError::Lmdb {
            path: self.heed.path().to_owned(),
            source,
        }
    }

    /// Turns the syncs of commits off, for a file that nobody relies on yet, or on again.
    pub(super) fn set_sync(&self, sync: bool) -> Result<(), Error> {
        let mode = if sync {
            FlagSetMode::Disable
        } else {
            FlagSetMode::Enable
        };
        #[expect(
            unsafe_code,
            reason = "heed leaves the consequences of fewer syncs to the caller"
        )]
        // SAFETY: without syncs a crash may leave a broken file. The callers are defragmentations
        // and receivers, whose new files are removed after a crash and synced before they are used.
        // Each is also the only one that changes its file's flags, and syncs nothing meanwhile.
        unsafe {
            self.heed.set_flags(EnvFlags::NO_SYNC, mode)
        }
    }

    /// Makes all commits durable.
    pub(super) fn sync(&self) -> Result<(), Error> {
        self.heed.force_sync()
    }

    /// The length of the file, and what of it the trees hold.
    pub(super) fn size(self: &Arc<Self>) -> Result<EngineSize, ReadError> {
        let snapshot = self.snapshot()?;
        let root = self.heed.unnamed_database_stat();
        let page_bytes = u64::from(root.page_size);
        let mut pages = META_PAGES;
        let mut count = |stat: &heed::DatabaseStat| {
            pages += (stat.branch_pages + stat.leaf_pages + stat.overflow_pages) as u64;
        };
        count(&root);
        for (_, table) in self.tables.iter() {
            count(&table.stat(&snapshot.txn)?);
        }
        let total_bytes = self.heed.real_disk_size()?;
        Ok(EngineSize {
            total_bytes,
            in_use_bytes: (pages * page_bytes).min(total_bytes),
        })
    }

    /// Takes the gate for reading.
    fn enter(&self) -> Gate {
        self.gate
            .try_read_arc_for(GROWTH_PATIENCE)
            .unwrap_or_else(|| self.gate.read_arc_recursive())
    }

    /// Doubles the map, once all transactions have ended.
    #[cold]
    fn grow(&self) -> Result<(), CommitError> {
        let _closed = self.gate.write();
        let bytes = self.heed.info().map_size.saturating_mul(2);
        #[expect(unsafe_code, reason = "LMDB cannot check that no transaction is open")]
        // SAFETY: every transaction of this environment is opened after `enter` and ended before
        // its guard is dropped, in this file; the gate is closed, so none is open.
        let grown = unsafe { self.heed.resize(bytes) };
        grown.map_err(|source| {
            // LMDB has unmapped the old map before the system refused the new one.
            self.map_lost.store(true, Ordering::Relaxed);
            CommitError::Grow {
                path: self.heed.path().to_owned(),
                bytes,
                source,
            }
        })
    }
}

impl std::fmt::Debug for Env {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Env")
            .field("path", &self.heed.path())
            .finish_non_exhaustive()
    }
}

/// A write transaction over the tables.
pub(super) struct WriteTxn<'env> {
    txn: RwTxn<'env>,
    tables: &'env Tables,
    /// A value with its checksum, put together; none where rows have none.
    sealed: Option<Vec<u8>>,
}

/// Why rows cannot be written, or copied.
#[derive(Debug)]
pub(super) enum RowError {
    Lmdb(Error),
    Damaged(DamagedRow),
}

impl From<Error> for RowError {
    fn from(error: Error) -> Self {
        Self::Lmdb(error)
    }
}

impl From<DamagedRow> for RowError {
    fn from(damaged: DamagedRow) -> Self {
        Self::Damaged(damaged)
    }
}

impl From<RowError> for ReadError {
    fn from(error: RowError) -> Self {
        match error {
            RowError::Lmdb(error) => Self::Lmdb(error),
            RowError::Damaged(damaged) => Self::Damaged(damaged),
        }
    }
}

impl WriteTxn<'_> {
    /// Writes a batch; revisions that come after all stored ones are appended, which is faster
    /// and fills pages.
    pub(super) fn apply(&mut self, batch: &Buffer) -> Result<(), RowError> {
        for table in Table::ALL {
            let mut appends = true;
            for (key, value) in batch.iter(table) {
                match value {
                    None => {
                        self.delete(table, key)?;
                    }
                    Some(value) => {
                        appends =
                            appends && table == Table::Key && self.append(table, key, value)?;
                        if !appends {
                            self.put(table, key, value)?;
                        }
                    }
                }
            }
        }
        Ok(())
    }

    /// Writes a value behind all others; answers whether the key comes after all others.
    pub(super) fn append(&mut self, table: Table, key: &[u8], value: &[u8]) -> Result<bool, Error> {
        match self.put_with_flags(PutFlags::APPEND, table, key, value) {
            Ok(()) => Ok(true),
            Err(Error::Mdb(MdbError::KeyExist)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Writes a value.
    pub(super) fn put(&mut self, table: Table, key: &[u8], value: &[u8]) -> Result<(), Error> {
        self.put_with_flags(PutFlags::empty(), table, key, value)
    }

    fn put_with_flags(
        &mut self,
        flags: PutFlags,
        table: Table,
        key: &[u8],
        value: &[u8],
    ) -> Result<(), Error> {
        let stored = match &mut self.sealed {
            None => value,
            Some(sealed) => {
                row::seal(table, key, value, sealed);
                sealed
            }
        };
        self.tables[table].put_with_flags(&mut self.txn, flags, key, stored)
    }

    /// Deletes a key; answers whether it was there.
    pub(super) fn delete(&mut self, table: Table, key: &[u8]) -> Result<bool, Error> {
        self.tables[table].delete(&mut self.txn, key)
    }
}

/// Opens the file with the map asked for, or with the largest smaller one that the system gives.
fn reserve(options: &LmdbOptions, path: &Path) -> Result<heed::Env<WithoutTls>, OpenError> {
    let mut map_bytes = options
        .map_bytes
        .max(MAP_BYTES_MIN)
        .next_multiple_of(MAP_BYTES_STEP);
    loop {
        let mut lmdb = EnvOpenOptions::new().read_txn_without_tls();
        lmdb.map_size(map_bytes)
            .max_readers(options.readers_max)
            .max_dbs(TABLES_MAX);
        #[expect(unsafe_code, reason = "LMDB trusts the file and its other users")]
        // SAFETY: `NO_SUB_DIR` changes only the file's name. The map is of a file that no one else
        // changes: the directory is locked against other processes of ours, this process opens a
        // path once (heed refuses a second time), and what others do to the data of a server by
        // hand is outside what any database survives.
        let opened = unsafe {
            lmdb.flags(EnvFlags::NO_SUB_DIR);
            lmdb.open(path)
        };
        match opened {
            Ok(env) => return Ok(env),
            Err(Error::Io(error))
                if error.kind() == io::ErrorKind::OutOfMemory && map_bytes > MAP_BYTES_MIN =>
            {
                map_bytes = (map_bytes / 2).next_multiple_of(MAP_BYTES_STEP);
            }
            Err(source) => {
                return Err(OpenError::Lmdb {
                    path: path.to_owned(),
                    source,
                });
            }
        }
    }
}

/// Refuses a file that is shorter than its last page: reading beyond its end is fatal.
pub(super) fn check_length(heed: &heed::Env<WithoutTls>, path: &Path) -> Result<(), OpenError> {
    let lmdb_error = |source| OpenError::Lmdb {
        path: path.to_owned(),
        source,
    };
    let size_bytes = heed.real_disk_size().map_err(lmdb_error)?;
    let pages = heed.info().last_page_number as u64 + 1;
    let expected_bytes = pages * u64::from(heed.unnamed_database_stat().page_size);
    if size_bytes < expected_bytes {
        return Err(OpenError::Truncated {
            path: path.to_owned(),
            size_bytes,
            expected_bytes,
        });
    }
    Ok(())
}

/// Refuses a file whose trees are damaged above their rows: LMDB believes what pages say.
fn check_pages(path: &Path) -> Result<(), OpenError> {
    match check_branches(path) {
        Ok(damage) => match damage.into_iter().next() {
            None => Ok(()),
            Some(damage) => Err(OpenError::DamagedPage {
                path: path.to_owned(),
                damage,
            }),
        },
        Err(CheckError::Io { path, source }) => Err(OpenError::Io { path, source }),
        // LMDB has just opened it.
        Err(CheckError::NoDatabase { .. }) => Ok(()),
    }
}

/// Opens or makes the tables; with them, whether rows have checksums. A file that is made says it.
fn open_tables(
    heed: &heed::Env<WithoutTls>,
    options: &LmdbOptions,
) -> Result<(Tables, bool), Error> {
    let marks = options.row_checksums && heed.unnamed_database_stat().entries == 0;
    let made = heed.create_databases_and_commit(heed.write_txn()?, |opener, txn| {
        let tables = PerTable::try_from_fn(|table| {
            opener.create_database::<Bytes, Bytes>(txn, Some(table.name()))
        })?;
        let mark = if marks {
            Some(opener.create_database::<Bytes, Bytes>(txn, Some(CHECKSUMS_MARK))?)
        } else {
            opener.open_database::<Bytes, Bytes>(txn, Some(CHECKSUMS_MARK))?
        };
        let opened = (tables, mark);
        Ok::<_, Error>(CommitOrAbort::<_, std::convert::Infallible>::Commit(opened))
    })?;
    match made {
        CommitOrAbort::Commit((tables, mark)) => Ok((tables, mark.is_some())),
        CommitOrAbort::Abort(never) => match never {},
    }
}

impl<T: heed::OnCommit> heed::OnCommit for PerTable<T> {
    type Committed = PerTable<T::Committed>;

    fn on_commit(self, token: &heed::CommitToken) -> Self::Committed {
        self.map(|value| value.on_commit(token))
    }
}
