//! An engine in memory, for tests and simulation.

use std::io::{self, Cursor, Read};
use std::sync::Arc;

use bytes::Bytes;
use im::OrdMap;
use parking_lot::Mutex;

use crate::buffer::Buffer;
use crate::engine::{
    self, Engine, EngineSize, EngineSnapshot, EntryIter, KeyBounds, Order, SnapshotReader,
};
use crate::error::{CommitError, DefragmentError, ReadError, SnapshotError};
use crate::table::{PerTable, Table};

type Tables = PerTable<OrdMap<Bytes, Bytes>>;

/// A disk in memory. Clones are the same disk, so that one can open a second
/// [`crate::Backend`] over what a dropped one had committed, as after a crash.
#[derive(Clone, Debug, Default)]
pub struct MemoryEngine {
    disk: Arc<Mutex<Disk>>,
}

#[derive(Debug, Default)]
struct Disk {
    tables: Tables,
    /// The lengths of all keys and values.
    bytes: u64,
    fails_next_commit: bool,
}

impl MemoryEngine {
    /// An empty disk.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes the next commit fail, with nothing of it written.
    pub fn fail_next_commit(&self) {
        self.disk.lock().fails_next_commit = true;
    }
}

impl Engine for MemoryEngine {
    fn snapshot(&self) -> Result<Box<dyn EngineSnapshot>, ReadError> {
        Ok(Box::new(self.disk.lock().tables.clone()))
    }

    fn commit(&self, batch: &Buffer) -> Result<(), CommitError> {
        let mut disk = self.disk.lock();
        if std::mem::take(&mut disk.fails_next_commit) {
            return Err(CommitError::Injected);
        }
        let Disk { tables, bytes, .. } = &mut *disk;
        for table in Table::ALL {
            for (key, value) in batch.iter(table) {
                let before = match value {
                    Some(value) => {
                        *bytes += entry_bytes(key, value);
                        tables[table].insert(key.clone(), value.clone())
                    }
                    None => tables[table].remove(key),
                };
                *bytes -= before.map_or(0, |before| entry_bytes(key, &before));
            }
        }
        Ok(())
    }

    fn size(&self) -> Result<EngineSize, ReadError> {
        let bytes = self.disk.lock().bytes;
        Ok(EngineSize {
            total_bytes: bytes,
            in_use_bytes: bytes,
        })
    }

    /// The copy is, for each table in order, the number of entries, then for each the length of
    /// its key, the key, the length of its value, the value; numbers are 8 bytes, big-endian.
    fn copy(&self) -> Result<Box<dyn SnapshotReader>, SnapshotError> {
        let tables = self.disk.lock().tables.clone();
        let mut copy = Vec::new();
        for (_, entries) in tables.iter() {
            copy.extend_from_slice(&(entries.len() as u64).to_be_bytes());
            for piece in entries.iter().flat_map(|(key, value)| [key, value]) {
                copy.extend_from_slice(&(piece.len() as u64).to_be_bytes());
                copy.extend_from_slice(piece);
            }
        }
        Ok(Box::new(MemoryCopy(Cursor::new(copy))))
    }

    fn defragment(&self) -> Result<(), DefragmentError> {
        Ok(())
    }
}

impl EngineSnapshot for Tables {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<&[u8]>, ReadError> {
        Ok(self[table].get(key).map(AsRef::as_ref))
    }

    fn scan<'a>(
        &'a self,
        table: Table,
        bounds: KeyBounds<'_>,
        order: Order,
    ) -> Result<EntryIter<'a>, ReadError> {
        if engine::is_empty(bounds) {
            return Ok(Box::new(std::iter::empty()));
        }
        let entries = self[table]
            .range::<_, [u8]>(bounds)
            .map(|(key, value)| Ok((key.as_ref(), value.as_ref())));
        Ok(match order {
            Order::Ascending => Box::new(entries),
            Order::Descending => Box::new(entries.rev()),
        })
    }
}

fn entry_bytes(key: &Bytes, value: &Bytes) -> u64 {
    (key.len() + value.len()) as u64
}

struct MemoryCopy(Cursor<Vec<u8>>);

impl Read for MemoryCopy {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.0.read(into)
    }
}

impl SnapshotReader for MemoryCopy {
    fn total_bytes(&self) -> u64 {
        self.0.get_ref().len() as u64
    }
}
