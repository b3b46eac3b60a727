//! An engine in memory, for tests and simulation.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use im::OrdMap;
use parking_lot::Mutex;

use crate::applied::Applied;
use crate::buffer::Buffer;
use crate::engine::{
    self, Engine, EngineSize, EngineSnapshot, Entry, EntryIter, Incoming, KeyBounds, Order,
};
use crate::error::{
    CommitError, DefragmentError, InstallError, OpenError, ReadError, ReceiveError,
};
use crate::receiver::RECEIVED_MAX;
use crate::row;
use crate::table::{PerTable, Table};

type Tables = PerTable<OrdMap<Bytes, Bytes>>;

/// A disk in memory. Clones are the same disk, so that one can open a second
/// [`crate::Backend`] over what a dropped one had committed, as after a crash.
#[derive(Debug)]
pub struct MemoryEngine {
    disk: Arc<Mutex<Disk>>,
    /// The file that was in place when this engine was made.
    open: Arc<Mutex<File>>,
}

/// What outlives a crash. Of its locks, this one comes before those of files.
#[derive(Debug, Default)]
struct Disk {
    /// The file that is in place.
    current: Arc<Mutex<File>>,
    received: BTreeMap<Applied, File>,
    fails_next_commit: bool,
    is_full: bool,
    fails_next_install: bool,
    reading: Arc<Reading>,
}

/// How rows of a disk are read.
#[derive(Debug, Default)]
struct Reading {
    skips_checks: AtomicBool,
    has_found_damage: AtomicBool,
}

/// A database.
#[derive(Clone, Debug, Default)]
struct File {
    tables: Tables,
    /// Rows that are not what was written: the value and its checksum, as they lie there.
    rotten: Tables,
    /// The lengths of all keys and values.
    bytes: u64,
}

impl MemoryEngine {
    /// An empty disk.
    #[must_use]
    pub fn new() -> Self {
        let disk = Disk::default();
        Self {
            open: Arc::clone(&disk.current),
            disk: Arc::new(Mutex::new(disk)),
        }
    }

    /// Another disk that holds the same, as a copy of the files does.
    #[must_use]
    pub fn copied(&self) -> Self {
        let disk = self.disk.lock();
        let current = Arc::new(Mutex::new(disk.current.lock().clone()));
        let copied = Disk {
            current: Arc::clone(&current),
            received: disk.received.clone(),
            reading: Arc::clone(&disk.reading),
            ..Disk::default()
        };
        Self {
            open: current,
            disk: Arc::new(Mutex::new(copied)),
        }
    }

    /// Makes the next commit fail, with nothing of it written.
    pub fn fail_next_commit(&self) {
        self.disk.lock().fails_next_commit = true;
    }

    /// Lets commits find no space, or find it again.
    pub fn set_full(&self, is_full: bool) {
        self.disk.lock().is_full = is_full;
    }

    /// Damages a row, as a disk does that rots: a bit of what lies there is another. What is written
    /// there next is whole again. The row is the one of this number among all, counted round and round;
    /// so is the bit in it.
    pub fn rot(&self, number: u64, bit: u64) {
        let current = Arc::clone(&self.disk.lock().current);
        let mut file = current.lock();
        let rows = |table| Table::ALL.into_iter().take_while(move |it| *it != table);
        let all: u64 = Table::ALL.into_iter().map(|table| file.rows(table)).sum();
        let Some(number) = number.checked_rem(all) else {
            return;
        };
        let place = Table::ALL.into_iter().find_map(|table| {
            let before: u64 = rows(table).map(|it| file.rows(it)).sum();
            let within = usize::try_from(number.checked_sub(before)?).ok()?;
            let (key, value) = file.tables[table].iter().nth(within)?;
            Some((table, key.clone(), value.clone()))
        });
        let Some((table, key, value)) = place else {
            return;
        };
        let mut stored = Vec::new();
        row::seal(table, &key, &value, &mut stored);
        let bits = stored.len() as u64 * 8;
        let at = usize::try_from(bit % bits / 8).unwrap_or_default();
        if let Some(byte) = stored.get_mut(at) {
            *byte ^= 1 << (bit % 8);
        }
        file.rotten[table].insert(key, stored.into());
    }

    /// Makes all rows again what was written, as a database that is put in place of this one.
    pub fn mend(&self) {
        let disk = self.disk.lock();
        disk.current.lock().rotten = Tables::default();
        disk.reading
            .has_found_damage
            .store(false, Ordering::Relaxed);
    }

    /// Whether somebody has read a row that is damaged, and was told so. A process must end then.
    #[must_use]
    pub fn has_found_damage(&self) -> bool {
        let disk = self.disk.lock();
        disk.reading.has_found_damage.load(Ordering::Relaxed)
    }

    /// Lets rows be read without a look at their checksums: a bug, for those who look for it.
    pub fn skip_row_checks(&self) {
        let disk = self.disk.lock();
        disk.reading.skips_checks.store(true, Ordering::Relaxed);
    }

    /// Makes the next installation fail after the received database is in place.
    pub fn fail_next_install(&self) {
        self.disk.lock().fails_next_install = true;
    }
}

impl Default for MemoryEngine {
    fn default() -> Self {
        Self::new()
    }
}

impl Clone for MemoryEngine {
    fn clone(&self) -> Self {
        Self {
            open: Arc::clone(&self.disk.lock().current),
            disk: Arc::clone(&self.disk),
        }
    }
}

impl File {
    fn rows(&self, table: Table) -> u64 {
        self.tables[table].len() as u64
    }

    fn snapshot(&self, reading: &Arc<Reading>) -> Box<dyn EngineSnapshot> {
        Box::new(MemorySnapshot {
            tables: self.tables.clone(),
            rotten: self.rotten.clone(),
            reading: Arc::clone(reading),
        })
    }

    fn put(&mut self, table: Table, key: Bytes, value: Bytes) {
        let added = entry_bytes(&key, &value);
        self.delete(table, &key);
        self.bytes += added;
        self.tables[table].insert(key, value);
    }

    fn delete(&mut self, table: Table, key: &Bytes) {
        self.rotten[table].remove(key);
        if let Some(before) = self.tables[table].remove(key) {
            self.bytes -= entry_bytes(key, &before);
        }
    }
}

impl Engine for MemoryEngine {
    fn snapshot(&self) -> Result<Box<dyn EngineSnapshot>, ReadError> {
        let reading = Arc::clone(&self.disk.lock().reading);
        Ok(self.open.lock().snapshot(&reading))
    }

    fn commit(&self, batch: &Buffer) -> Result<(), CommitError> {
        if std::mem::take(&mut self.disk.lock().fails_next_commit) {
            return Err(CommitError::Injected);
        }
        if self.disk.lock().is_full {
            return Err(CommitError::NoSpace {
                path: "memory".into(),
                available_bytes: 0,
                source: io::ErrorKind::StorageFull.into(),
            });
        }
        let mut file = self.open.lock();
        for table in Table::ALL {
            for (key, value) in batch.iter(table) {
                match value {
                    Some(value) => file.put(table, key.clone(), value.clone()),
                    None => file.delete(table, key),
                }
            }
        }
        Ok(())
    }

    fn size(&self) -> Result<EngineSize, ReadError> {
        let bytes = self.open.lock().bytes;
        Ok(EngineSize {
            total_bytes: bytes,
            in_use_bytes: bytes,
        })
    }

    fn defragment(&self) -> Result<(), DefragmentError> {
        Ok(())
    }

    fn receive(&self) -> Result<Box<dyn Incoming>, ReceiveError> {
        Ok(Box::new(MemoryIncoming {
            disk: Arc::clone(&self.disk),
            file: File::default(),
        }))
    }

    fn received(&self) -> Vec<Applied> {
        self.disk.lock().received.keys().copied().collect()
    }

    fn read_received(
        &self,
        applied: Applied,
    ) -> Result<Option<Box<dyn EngineSnapshot>>, OpenError> {
        let disk = self.disk.lock();
        let file = disk.received.get(&applied);
        Ok(file.map(|file| file.snapshot(&disk.reading)))
    }

    fn install(&self, applied: Applied) -> Result<Arc<dyn Engine>, InstallError> {
        let mut disk = self.disk.lock();
        let file = disk
            .received
            .remove(&applied)
            .ok_or(InstallError::NotReceived { applied })?;
        disk.current = Arc::new(Mutex::new(file));
        disk.received.retain(|other, _| *other > applied);
        if std::mem::take(&mut disk.fails_next_install) {
            return Err(InstallError::Swap(CommitError::Injected));
        }
        Ok(Arc::new(Self {
            open: Arc::clone(&disk.current),
            disk: Arc::clone(&self.disk),
        }))
    }

    fn discard_received(&self, applied: Applied) -> Result<(), OpenError> {
        self.disk.lock().received.remove(&applied);
        Ok(())
    }
}

/// A file that is being made.
struct MemoryIncoming {
    disk: Arc<Mutex<Disk>>,
    file: File,
}

impl Incoming for MemoryIncoming {
    fn append(&mut self, table: Table, entries: &[Entry<'_>]) -> Result<(), ReceiveError> {
        for (key, value) in entries {
            let (key, value) = (Bytes::copy_from_slice(key), Bytes::copy_from_slice(value));
            self.file.put(table, key, value);
        }
        Ok(())
    }

    fn finish(self: Box<Self>, applied: Applied) -> Result<(), ReceiveError> {
        let Self { disk, file } = *self;
        let mut disk = disk.lock();
        if disk.received.len() >= RECEIVED_MAX && !disk.received.contains_key(&applied) {
            return Err(ReceiveError::TooMany);
        }
        disk.received.insert(applied, file);
        Ok(())
    }
}

/// A database at some time.
struct MemorySnapshot {
    tables: Tables,
    rotten: Tables,
    reading: Arc<Reading>,
}

impl MemorySnapshot {
    /// The value of a row, by the checks that rows on a disk go through.
    fn value<'a>(
        &'a self,
        table: Table,
        key: &[u8],
        value: &'a Bytes,
    ) -> Result<&'a [u8], ReadError> {
        let Some(stored) = self.rotten[table].get(key) else {
            return Ok(value);
        };
        if self.reading.skips_checks.load(Ordering::Relaxed) {
            return Ok(stored.get(..value.len()).unwrap_or_default());
        }
        row::open(table, key, stored).ok_or_else(|| {
            self.reading.has_found_damage.store(true, Ordering::Relaxed);
            row::damaged(Path::new("memory"), table, key).into()
        })
    }
}

impl EngineSnapshot for MemorySnapshot {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<&[u8]>, ReadError> {
        let found = self.tables[table].get(key);
        found.map(|value| self.value(table, key, value)).transpose()
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
        let entries = self.tables[table]
            .range::<_, [u8]>(bounds)
            .map(move |(key, value)| Ok((key.as_ref(), self.value(table, key, value)?)));
        Ok(match order {
            Order::Ascending => Box::new(entries),
            Order::Descending => Box::new(entries.rev()),
        })
    }
}

fn entry_bytes(key: &Bytes, value: &Bytes) -> u64 {
    (key.len() + value.len()) as u64
}
