//! A copy of a database, opened to be checked or read, and never written.

use std::ops::Bound;
use std::path::Path;

use heed::types::Bytes;
use heed::{CommitOrAbort, Database, EnvFlags, EnvOpenOptions, Error, WithoutTls};

use crate::engine::{KeyBounds, Visit};
use crate::error::{OpenError, ReadError};
use crate::lmdb::env;
use crate::row;
use crate::table::{PerTable, Table};

/// A file that holds what [`crate::Backend::snapshot`] gave.
///
/// To restore it, check it and put it in the place of a database.
pub struct SnapshotFile {
    heed: heed::Env<WithoutTls>,
    tables: PerTable<Database<'static, Bytes, Bytes>>,
    is_checked: bool,
}

impl SnapshotFile {
    /// Opens the file at `path`, which must not change while it is open.
    ///
    /// # Errors
    ///
    /// If it is not a whole database with all tables.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        let lmdb_error = |source| OpenError::Lmdb {
            path: path.to_owned(),
            source,
        };
        let size_bytes = std::fs::metadata(path)
            .map_err(|source| OpenError::Io {
                path: path.to_owned(),
                source,
            })?
            .len();
        let mut options = EnvOpenOptions::new().read_txn_without_tls();
        options
            .max_dbs(env::TABLES_MAX)
            .map_size(env::map_bytes_for(size_bytes));
        #[expect(unsafe_code, reason = "LMDB trusts the file and its other users")]
        // SAFETY: without its lock file LMDB relies on there being no writer, and the map on the
        // file not changing; that is the caller's promise above. `READ_ONLY` takes us out of the
        // question.
        let heed = unsafe {
            options.flags(EnvFlags::NO_SUB_DIR | EnvFlags::READ_ONLY | EnvFlags::NO_LOCK);
            options.open(path).map_err(lmdb_error)?
        };
        env::check_length(&heed, path)?;
        let opened = heed
            .open_databases_and_commit(heed.read_txn().map_err(lmdb_error)?, |opener, txn| {
                let tables = PerTable::try_from_fn(|table| {
                    opener.open_database::<Bytes, Bytes>(txn, Some(table.name()))
                })?;
                let mark = opener.open_database::<Bytes, Bytes>(txn, Some(env::CHECKSUMS_MARK))?;
                let opened = (tables, mark);
                Ok::<_, Error>(CommitOrAbort::<_, std::convert::Infallible>::Commit(opened))
            })
            .map_err(lmdb_error)?;
        let (opened, mark) = match opened {
            CommitOrAbort::Commit(opened) => opened,
            CommitOrAbort::Abort(never) => match never {},
        };
        let tables = PerTable::try_from_fn(|table| {
            opened[table].ok_or_else(|| OpenError::TableMissing {
                path: path.to_owned(),
                table: table.name(),
            })
        })?;
        Ok(Self {
            heed,
            tables,
            is_checked: mark.is_some(),
        })
    }

    /// Reads every entry, and gives what [`crate::Backend::hash`] gave when the copy was taken.
    ///
    /// # Errors
    ///
    /// If it cannot be read.
    pub fn hash(&self) -> Result<u32, ReadError> {
        let mut hash = 0;
        for table in Table::ALL {
            hash = table.hash_name(hash);
            self.scan(
                table,
                (Bound::Unbounded, Bound::Unbounded),
                &mut |key, value| {
                    hash = table.hash_entry(hash, key, value);
                    std::ops::ControlFlow::Continue(())
                },
            )?;
        }
        Ok(hash)
    }

    /// Visits the entries within `bounds` in ascending order until `visit` breaks.
    ///
    /// # Errors
    ///
    /// If it cannot be read.
    pub fn scan(
        &self,
        table: Table,
        bounds: KeyBounds<'_>,
        visit: &mut Visit<'_>,
    ) -> Result<(), ReadError> {
        let txn = self.heed.read_txn()?;
        for entry in self.tables[table].range(&txn, &bounds)? {
            let (key, stored) = entry?;
            let value = if self.is_checked {
                row::open(table, key, stored)
                    .ok_or_else(|| row::damaged(self.heed.path(), table, key))?
            } else {
                stored
            };
            if visit(key, value).is_break() {
                break;
            }
        }
        Ok(())
    }
}

impl std::fmt::Debug for SnapshotFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SnapshotFile")
            .field("path", &self.heed.path())
            .finish_non_exhaustive()
    }
}
