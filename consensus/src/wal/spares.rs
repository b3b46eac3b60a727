//! Spares: segments to be, so that changing segments does not wait for 64 MiB of zeros.

use std::io;
use std::sync::Arc;

use super::{WalError, WalOptions};
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

/// The segments to be.
pub(super) struct Spares {
    options: WalOptions,
    ready: Vec<(String, Arc<dyn DiskFile>)>,
    filling: Option<Filling>,
    next_number: u64,
}

/// A spare that is being zero-filled.
struct Filling {
    name: String,
    file: Arc<dyn DiskFile>,
    filled: u64,
    synced: u64,
}

impl Spares {
    /// The spares on `disk`; what cannot be one is removed.
    pub(super) fn open(disk: &dyn Disk, options: WalOptions) -> Result<Self, WalError> {
        let mut spares = Self {
            options,
            ready: Vec::new(),
            filling: None,
            next_number: 1,
        };
        let names = disk
            .list()
            .map_err(|source| io_error("list", "the log's files", source))?;
        for name in names {
            let Some(number) = spare_number(&name) else {
                continue;
            };
            spares.next_number = spares.next_number.max(number + 1);
            let file = disk
                .open(&name)
                .map_err(|source| io_error("open", &name, source))?;
            let length = file
                .length()
                .map_err(|source| io_error("measure", &name, source))?;
            if length == options.segment_bytes && spares.ready.len() < SPARES_MAX {
                spares.ready.push((name, file));
            } else {
                disk.remove(&name)
                    .map_err(|source| io_error("remove", &name, source))?;
            }
        }
        Ok(spares)
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.ready.len() + usize::from(self.filling.is_some())
    }

    /// Takes a spare, made now if there is none.
    pub(super) fn take(
        &mut self,
        disk: &dyn Disk,
    ) -> Result<(String, Arc<dyn DiskFile>), WalError> {
        if let Some(spare) = self.ready.pop() {
            return Ok(spare);
        }
        match self.filling.take() {
            Some(filling) => Ok((filling.name, filling.file)),
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
                .map_err(|source| io_error("rename", segment, source))?;
            self.ready.push((name, Arc::clone(file)));
        } else {
            disk.remove(segment)
                .map_err(|source| io_error("remove", segment, source))?;
        }
        disk.sync_dir()
            .map_err(|source| io_error("sync the directory of", segment, source))
    }

    /// Zero-fills a piece of the next spare if none is ready; called after a write of
    /// `written` bytes, so that a spare is ready before the segment is full.
    pub(super) fn fill(&mut self, disk: &dyn Disk, written: usize) -> Result<(), WalError> {
        if !self.ready.is_empty() {
            return Ok(());
        }
        let mut filling = match self.filling.take() {
            Some(filling) => filling,
            None => {
                let (name, file) = self.create(disk)?;
                Filling {
                    name,
                    file,
                    filled: 0,
                    synced: 0,
                }
            }
        };
        let mut budget = written.max(PIECE_BYTES) as u64;
        while budget > 0 && filling.filled < self.options.segment_bytes {
            let left = self.options.segment_bytes - filling.filled;
            let piece = ZEROS.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            let zeros = ZEROS.get(..piece).unwrap_or(&ZEROS);
            let written = filling.file.write_at(zeros, filling.filled);
            written.map_err(|source| io_error("zero-fill", &filling.name, source))?;
            filling.filled += piece as u64;
            budget = budget.saturating_sub(piece as u64);
        }
        let full = filling.filled == self.options.segment_bytes;
        if full || filling.filled - filling.synced >= SYNC_EVERY_BYTES {
            let synced = self.options.sync(filling.file.as_ref());
            synced.map_err(|source| io_error("sync", &filling.name, source))?;
            filling.synced = filling.filled;
        }
        if full {
            self.ready.push((filling.name, filling.file));
        } else {
            self.filling = Some(filling);
        }
        Ok(())
    }

    fn create(&mut self, disk: &dyn Disk) -> Result<(String, Arc<dyn DiskFile>), WalError> {
        let name = self.next_name();
        let file = disk
            .create(&name, self.options.segment_bytes)
            .map_err(|source| io_error("create", &name, source))?;
        Ok((name, file))
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

fn io_error(action: &'static str, file: &str, source: io::Error) -> WalError {
    WalError::Io {
        action,
        file: file.to_owned(),
        source,
    }
}
