//! SegmentPool: segments to be, so that changing segments does not wait for 64 MiB of zeros.

use std::sync::Arc;

use super::{WalError, WalOptions, io_error};
use crate::disk::{Disk, DiskFile};

const PREFIX: &str = "spare-";

/// How many spares are kept: as many segments as a log of the default limits uses between two
/// compactions. A compaction that frees more removes the others.
const SPARES_MAX: usize = 4;

/// The least that is zero-filled at a time: as much as a write of that many bytes costs little.
const PIECE_BYTES: usize = 64 << 10;

/// How much is zero-filled between syncs: a sync of this much costs about a millisecond, one of a
/// whole segment would stop the log for fifty.
const SYNC_EVERY_BYTES: u64 = 1 << 20;

static ZEROS: [u8; PIECE_BYTES] = [0; PIECE_BYTES];

/// How many writes pass after a spare could not be made before the next is tried.
const RETRY_AFTER_WRITES: u32 = 1000;

/// The segments to be.
///
/// A spare is a convenience. What fails while one is made is given up, told as a
/// [warning](SegmentPool::take_warning), and tried again later; only a segment that is needed now and
/// cannot be made is an error.
pub(super) struct SegmentPool {
    options: WalOptions,
    ready: Vec<PooledSegment>,
    filling: Option<Filling>,
    next_number: u64,
    /// How many writes are to pass before a spare is tried again.
    rest: u32,
    warning: Option<WalError>,
}

/// A segment to be.
pub(super) struct PooledSegment {
    pub(super) name: String,
    pub(super) file: Arc<dyn DiskFile>,
    /// Whether it was a segment before, and may hold that one's frames.
    pub(super) recycled: bool,
}

/// A spare that is being zero-filled.
struct Filling {
    spare: PooledSegment,
    filled: u64,
    synced: u64,
}

impl SegmentPool {
    /// The spares on `disk`; what cannot be one is removed.
    pub(super) fn open(disk: &dyn Disk, options: WalOptions) -> Result<Self, WalError> {
        let mut pool = Self {
            options,
            ready: Vec::new(),
            filling: None,
            next_number: 1,
            rest: 0,
            warning: None,
        };
        let names = disk
            .list()
            .map_err(|source| io_error("list the files of", disk, "", source))?;
        for name in names {
            let Some(number) = spare_number(&name) else {
                continue;
            };
            pool.next_number = pool.next_number.max(number + 1);
            let file = disk
                .open(&name)
                .map_err(|source| io_error("open", disk, &name, source))?;
            let length = file
                .length()
                .map_err(|source| io_error("measure", disk, &name, source))?;
            if length == options.segment_bytes && pool.ready.len() < SPARES_MAX {
                pool.ready.push(PooledSegment {
                    name,
                    file,
                    recycled: true,
                });
            } else {
                disk.remove(&name)
                    .map_err(|source| io_error("remove", disk, &name, source))?;
            }
        }
        Ok(pool)
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.ready.len() + usize::from(self.filling.is_some())
    }

    /// Why the last spare could not be made; told once.
    pub(super) fn take_warning(&mut self) -> Option<WalError> {
        self.warning.take()
    }

    /// Takes a spare, made now if there is none.
    pub(super) fn take(&mut self, disk: &dyn Disk) -> Result<PooledSegment, WalError> {
        if let Some(spare) = self.ready.pop() {
            return Ok(spare);
        }
        match self.filling.take() {
            Some(filling) => Ok(filling.spare),
            None => self.create(disk),
        }
    }

    /// Makes a spare of a segment that is no longer needed, or removes it if there are enough.
    pub(super) fn recycle(
        &mut self,
        disk: &dyn Disk,
        segment: &str,
        file: &Arc<dyn DiskFile>,
    ) -> Result<(), WalError> {
        if self.ready.len() < SPARES_MAX {
            let name = self.next_name();
            disk.rename(segment, &name)
                .map_err(|source| io_error("rename", disk, segment, source))?;
            self.ready.push(PooledSegment {
                name,
                file: Arc::clone(file),
                recycled: true,
            });
        } else {
            disk.remove(segment)
                .map_err(|source| io_error("remove", disk, segment, source))?;
        }
        disk.sync_dir()
            .map_err(|source| io_error("sync the directory of", disk, segment, source))
    }

    /// Zero-fills a piece of the next spare if none is ready; called after a write of
    /// `written` bytes, so that a spare is ready before the segment is full.
    pub(super) fn fill(&mut self, disk: &dyn Disk, written: usize) {
        if !self.ready.is_empty() {
            return;
        }
        if self.rest > 0 {
            self.rest -= 1;
            return;
        }
        let filling = match self.filling.take() {
            Some(filling) => Ok(filling),
            None => self.create(disk).map(|spare| Filling {
                spare,
                filled: 0,
                synced: 0,
            }),
        };
        let failure = match filling {
            Ok(mut filling) => match self.fill_piece(disk, &mut filling, written) {
                Ok(()) if filling.filled == self.options.segment_bytes => {
                    self.ready.push(filling.spare);
                    return;
                }
                Ok(()) => {
                    self.filling = Some(filling);
                    return;
                }
                Err(error) => {
                    // Its room is worth more than it is. If it stays, a start finds it.
                    let _ = disk.remove(&filling.spare.name);
                    error
                }
            },
            Err(error) => error,
        };
        self.rest = RETRY_AFTER_WRITES;
        self.warning = Some(failure);
    }

    fn fill_piece(
        &self,
        disk: &dyn Disk,
        filling: &mut Filling,
        written: usize,
    ) -> Result<(), WalError> {
        let PooledSegment { name, file, .. } = &filling.spare;
        let mut budget = written.max(PIECE_BYTES) as u64;
        while budget > 0 && filling.filled < self.options.segment_bytes {
            let left = self.options.segment_bytes - filling.filled;
            let piece = ZEROS.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            let (zeros, _) = ZEROS.split_at(piece);
            file.write_at(zeros, filling.filled)
                .map_err(|source| io_error("zero-fill", disk, name, source))?;
            filling.filled += piece as u64;
            budget = budget.saturating_sub(piece as u64);
        }
        let full = filling.filled == self.options.segment_bytes;
        if full || filling.filled - filling.synced >= SYNC_EVERY_BYTES {
            self.options
                .sync(file.as_ref())
                .map_err(|source| io_error("sync", disk, name, source))?;
            filling.synced = filling.filled;
        }
        Ok(())
    }

    fn create(&mut self, disk: &dyn Disk) -> Result<PooledSegment, WalError> {
        let name = self.next_name();
        let created = disk.create(&name, self.options.segment_bytes);
        let file = created.map_err(|source| {
            // What there is of it takes room that is wanted elsewhere.
            let _ = disk.remove(&name);
            io_error("create", disk, &name, source)
        })?;
        Ok(PooledSegment {
            name,
            file,
            recycled: false,
        })
    }

    fn next_name(&mut self) -> String {
        let name = format!("{PREFIX}{:x}", self.next_number);
        self.next_number += 1;
        name
    }
}

fn spare_number(name: &str) -> Option<u64> {
    u64::from_str_radix(name.strip_prefix(PREFIX)?, 16).ok()
}
