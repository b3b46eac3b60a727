//! Defragmenting while reads and commits go on.
//!
//! The old file is copied in key order into a new one, a piece at a time, each piece in a read
//! transaction of its own so that none pins pages for long. What commits change meanwhile is
//! noted. Before a piece is copied, the notes taken since the last piece are looked up again in
//! the new snapshot, if they lie in what is already copied; the others the copying will meet.
//!
//! **Invariant:** after each piece, the new file holds up to `Progress` exactly what the snapshot
//! of that piece holds.
//!
//! When the end is reached, commits wait for one last piece, the new file takes the name of the
//! old one, and new transactions open it; old ones end on the old file, which then goes.
//! A crash before the rename leaves the old file, after it the new one, each whole.

use std::fs;
use std::ops::Bound;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;

use crate::buffer::Buffer;
use crate::engine::{EngineSnapshot as _, Order};
use crate::error::DefragmentError;
use crate::lmdb::env::{Env, LmdbSnapshot, RowError, WriteTxn};
use crate::lmdb::{LmdbEngine, LmdbOptions};
use crate::table::{STATE_CHECKSUM_KEY, Table};

/// In the names of files that are being made.
pub(super) const PURPOSE: &str = "defragment";

/// The order in which tables are copied: the one that grows at its end comes last, so that its
/// new entries are ahead of the copying and need no note.
const COPY_ORDER: [Table; Table::COUNT] = [
    Table::Alarm,
    Table::Auth,
    Table::AuthRoles,
    Table::AuthUsers,
    Table::Cluster,
    Table::Lease,
    Table::Members,
    Table::MembersRemoved,
    Table::Meta,
    Table::Key,
];

/// How many pieces are written before they are synced, so that the last sync is short.
const PIECES_PER_SYNC: usize = 32;

/// How many changes are noted between two pieces: over ten commits at their largest.
const NOTES_MAX: usize = 500_000;

/// Replaces the engine's file by a compact one.
pub(super) fn run(engine: &LmdbEngine) -> Result<(), DefragmentError> {
    let _only = engine.defragmenting.lock();
    let path = engine.directory.temporary_file(PURPOSE);
    let options = LmdbOptions {
        row_checksums: takes_checksums(engine)?,
        ..engine.options.clone()
    };
    let env = Arc::new(Env::open(&engine.directory, &path, &options)?);
    engine.committed.lock().begin();
    let done = Copying::new(engine, env).run(&path);
    engine.committed.lock().end();
    if !matches!(done, Ok(()) | Err(DefragmentError::Swap(_))) {
        // What stays is removed when the engine is next opened.
        let _ = fs::remove_file(&path);
    }
    match done {
        // What was received is packed.
        Err(DefragmentError::Replaced) => Ok(()),
        done => done,
    }
}

/// Whether the rows of the new file have checksums.
///
/// Those of a file of before there were any get them as soon as it has a checksum of what was applied:
/// a file with the first and without the second is one that has lost it, and a start refuses it.
fn takes_checksums(engine: &LmdbEngine) -> Result<bool, DefragmentError> {
    let snapshot = engine.current.load_full().snapshot()?;
    let of_state = || snapshot.get(Table::Meta, STATE_CHECKSUM_KEY);
    Ok(!snapshot.is_before_checksums() || of_state()?.is_some())
}

/// What commits tell a running defragmentation.
#[derive(Debug, Default)]
pub(super) struct Changes {
    /// The keys that were written or deleted; `None` while no defragmentation runs.
    noted: Option<Vec<(Table, Bytes)>>,
    /// How many keys found no room.
    lost: usize,
    /// Another file has the name of the database: this engine must not take it back.
    retired: bool,
}

impl Changes {
    fn begin(&mut self) {
        self.noted = Some(Vec::new());
        self.lost = 0;
    }

    fn end(&mut self) {
        self.noted = None;
        self.lost = 0;
    }

    /// Notes that the database was replaced.
    pub(super) fn retire(&mut self) {
        self.retired = true;
    }

    /// Notes the keys of a batch that is committed.
    pub(super) fn note(&mut self, batch: &Buffer) {
        let Some(noted) = &mut self.noted else { return };
        if noted.len() + batch.ops() > NOTES_MAX {
            self.lost += batch.ops();
            return;
        }
        for table in Table::ALL {
            noted.extend(batch.iter(table).map(|(key, _)| (table, key.clone())));
        }
    }

    /// The notes since the last call.
    fn take(&mut self) -> Result<Vec<(Table, Bytes)>, DefragmentError> {
        if self.retired {
            return Err(DefragmentError::Replaced);
        }
        let noted = self.noted.replace(Vec::new()).unwrap_or_default();
        if self.lost > 0 {
            return Err(DefragmentError::Overtaken {
                changes: noted.len() + self.lost,
            });
        }
        Ok(noted)
    }
}

/// A running defragmentation.
struct Copying<'e> {
    engine: &'e LmdbEngine,
    /// The new file.
    env: Arc<Env>,
    progress: Progress,
}

impl<'e> Copying<'e> {
    fn new(engine: &'e LmdbEngine, env: Arc<Env>) -> Self {
        Self {
            engine,
            env,
            progress: Progress::default(),
        }
    }

    fn run(mut self, path: &Path) -> Result<(), DefragmentError> {
        self.sync_with(false)?;
        self.catch_up()?;
        self.sync()?;
        self.sync_with(true)?;
        self.catch_up()?;

        let mut committed = self.engine.committed.lock();
        let notes = committed.take()?;
        let snapshot = self.engine.current.load_full().snapshot()?;
        self.copy_piece(&snapshot, &notes, usize::MAX)?;
        drop(snapshot);
        fs::rename(path, self.engine.directory.file()).map_err(|source| {
            DefragmentError::Rename {
                path: path.to_owned(),
                source,
            }
        })?;
        let synced = self.engine.directory.sync_swapped();
        let old = self.engine.current.swap(self.env);
        drop(committed);
        drop(old);
        synced.map_err(DefragmentError::Swap)
    }

    /// Copies pieces until one reaches the end of the last table.
    fn catch_up(&mut self) -> Result<(), DefragmentError> {
        for piece in 1.. {
            self.copy_next()?;
            if self.progress.is_complete() {
                break;
            }
            if piece % PIECES_PER_SYNC == 0 {
                self.sync()?;
            }
        }
        Ok(())
    }

    /// Copies a piece, from a snapshot that holds exactly the commits whose notes are taken.
    fn copy_next(&mut self) -> Result<(), DefragmentError> {
        let (snapshot, notes) = {
            let mut committed = self.engine.committed.lock();
            (
                self.engine.current.load_full().snapshot()?,
                committed.take()?,
            )
        };
        self.copy_piece(
            &snapshot,
            &notes,
            self.engine.options.defragment_piece_bytes,
        )
    }

    /// Brings what is copied up to `snapshot`, and copies about `bytes_max` more.
    fn copy_piece(
        &mut self,
        snapshot: &LmdbSnapshot,
        notes: &[(Table, Bytes)],
        bytes_max: usize,
    ) -> Result<(), DefragmentError> {
        let before = &self.progress;
        let mut after = before.clone();
        self.env
            .write(|txn| {
                after = before.clone();
                for (table, key) in notes
                    .iter()
                    .filter(|(table, key)| before.covers(*table, key))
                {
                    match snapshot.find(*table, key)? {
                        Some(value) => txn.put(*table, key, value)?,
                        None => {
                            txn.delete(*table, key)?;
                        }
                    }
                }
                after.advance(snapshot, txn, bytes_max)
            })
            .map_err(DefragmentError::Write)?;
        self.progress = after;
        Ok(())
    }

    fn sync_with(&self, sync: bool) -> Result<(), DefragmentError> {
        let set = self.env.set_sync(sync);
        set.map_err(|error| DefragmentError::Write(self.env.failed(error)))
    }

    fn sync(&self) -> Result<(), DefragmentError> {
        let synced = self.env.sync();
        synced.map_err(|error| DefragmentError::Write(self.env.failed(error)))
    }
}

/// How far the copying is, in [`COPY_ORDER`].
///
/// Invariants:
/// 1. The first `tables` tables are copied to their ends.
/// 2. `last` is the last key copied of the table after them; nothing if none is.
#[derive(Clone, Debug, Default)]
struct Progress {
    tables: usize,
    last: Option<Bytes>,
}

impl Progress {
    fn is_complete(&self) -> bool {
        self.tables == COPY_ORDER.len()
    }

    /// Whether a key lies in what is copied.
    fn covers(&self, table: Table, key: &[u8]) -> bool {
        let at = COPY_ORDER.iter().position(|other| *other == table);
        at.is_some_and(|at| {
            at < self.tables
                || at == self.tables && self.last.as_ref().is_some_and(|last| key <= last)
        })
    }

    /// Copies from where it is until `bytes_max` are copied or the end is reached.
    fn advance(
        &mut self,
        snapshot: &LmdbSnapshot,
        txn: &mut WriteTxn<'_>,
        bytes_max: usize,
    ) -> Result<(), RowError> {
        let mut bytes = 0;
        while let Some(&table) = COPY_ORDER.get(self.tables) {
            let after = match &self.last {
                Some(last) => Bound::Excluded(last.clone()),
                None => Bound::Unbounded,
            };
            let bounds = (after.as_ref().map(AsRef::as_ref), Bound::Unbounded);
            let mut last = None;
            for entry in snapshot.entries(table, bounds, Order::Ascending)? {
                if bytes >= bytes_max {
                    break;
                }
                let (key, value) = entry?;
                if !txn.append(table, key, value)? {
                    txn.put(table, key, value)?;
                }
                bytes += key.len() + value.len();
                last = Some(key);
            }
            if let Some(last) = last {
                self.last = Some(Bytes::copy_from_slice(last));
            }
            if bytes >= bytes_max {
                return Ok(());
            }
            self.tables += 1;
            self.last = None;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
