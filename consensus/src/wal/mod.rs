//! The write-ahead log: what a member has promised to remember, on disk before it says so.
//!
//! # Bytes
//!
//! The log is a row of [segments](segment): files of one fixed length (64 MiB), numbered without
//! gaps, zero-filled or recycled so that a write changes no metadata of the file system. A segment
//! begins with a header, then come [frames](frame), one after another. A frame is what one write
//! put there, checked as a whole; in it are [records](record): entries, the hard state, and the
//! marker that says where the log begins. The first frame of each segment repeats hard state and
//! marker, so that older segments can go. Files named `spare-…` are segments to be.
//!
//! # Writing
//!
//! [`Wal::append`] puts everything that waits into one frame, writes it with one write and makes it
//! durable with one sync; only then is the next frame written. So at any moment **at most one frame
//! is not durable, and it is the last**. (A batch beyond 4 MiB takes several frames, one after the
//! other.) When a segment is full, a spare gets its header and first frame, is synced, and is then
//! given the segment's name, and the directory is synced: a file with a segment's name is always
//! whole up to its first frame. SegmentPool are recycled segments; while there are none, one is
//! zero-filled in small pieces between writes. If that fails, for want of space say, it stops
//! nothing before the segment is needed ([`Wal::take_warning`]).
//!
//! After a failed write or sync nothing is known of what is on disk, and asking again proves
//! nothing: the log refuses everything from then on ([`WalError::Poisoned`]), and the process must
//! stop. Recovery at the next start sees what is really there.
//!
//! # Recovery
//!
//! Segments are read in order; each frame must be whole and name the frame before it, each header
//! must say where the segment before it ended. What does not is either the torn tail of the last
//! write, which nobody was told of, or damage to what somebody was told of. The difference:
//!
//! - In any segment but the last, it is damage: the next segment was begun after its end was synced.
//! - In the last segment, if any frame's header stands behind it, it is damage: a frame is written
//!   only after the one before it is durable. Every place behind the broken frame where a frame may
//!   begin is tried, to the segment's end (from the broken frame's end on, if its header is whole and
//!   tells that). A header is known by its checksum alone, which continues from the segment's, so
//!   what a recycled file contains never counts.
//! - Else it is a torn tail, and the log ends before it. [`Wal::tail`] says where, and what was cut.
//!
//! Frames begin at multiples of 4 KiB ([`FrameAlignment::PAGE`]). So a sector or page that goes bad
//! belongs to one frame only, and unless that is the very last one, the header that tells of it
//! stands in another page. And a page that holds something durable is never written again. (Logs of
//! version 1 packed frames closer. They are read as they are; a log that ends in such a segment
//! begins a new one when it is opened.)
//!
//! Damage refuses the start with [`WalError::Corrupt`], which names file and offset. One case cannot
//! be told apart: damage to the very last frame, or from there backwards without a gap, looks like
//! a torn write. The application notices if it has applied what is missing, since it remembers how
//! far it has come.
//!
//! What was recovered is made durable again before it is relied on: the last frame is written anew
//! and synced, for it may be in memory only (the process was killed between write and sync, or a
//! sync failed).
//!
//! # What is assumed of the disk
//!
//! Written bytes are durable once a sync has returned; a rename is atomic, and durable once the
//! directory is synced; 512-byte sectors are written whole or not at all, but in any order; rot may
//! change durable bytes, but not so that CRC32C agrees.

mod entry_offsets;
mod error;
mod frame;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzed;
mod reader;
mod record;
mod recovery;
mod segment;
mod segment_pool;
mod tail;

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use raft::eraftpb;

use crate::disk::{Disk, DiskFile};
use crate::log_index::LogIndex;
use crate::member_id::Identity;
use entry_offsets::{EntryOffsets, FrameOffset};
use error::io_error;
use frame::{FRAME_HEADER_BYTES, FrameHeader};
use reader::{FrameAt, FrameReader};
use segment::{SEGMENT_HEADER_BYTES, SegmentHeader, segment_name};
use segment_pool::{PooledSegment, SegmentPool};

pub use error::{Damage, WalError};
pub use frame::FrameAlignment;
pub(crate) use record::Record;
pub use record::{BadRecord, Marker, MarkerOrigin};
pub use segment::BadSegmentHeader;
pub use tail::{LogTail, TailKind};

/// The length of a segment, unless options say otherwise: long enough that changing segments is
/// rare, short enough that keeping one too many costs nothing.
pub const SEGMENT_BYTES: u64 = 64 << 20;

/// The shortest segment that makes sense: room for the header, a marker with many members and an
/// entry. Tests use it.
const SEGMENT_BYTES_MIN: u64 = 4096;

/// The least that a segment holds of the shortest frames.
const FRAMES_MIN: u64 = 8;

/// What a frame is filled up to: beyond this, a longer write is no faster a byte.
const FRAME_BYTES_TARGET: usize = 4 << 20;

/// Whether writes are made durable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// Every write is synced before it counts.
    #[default]
    Sync,
    /// Nothing is ever synced: a power failure may lose and corrupt everything
    /// (`--unsafe-no-fsync`).
    UnsafeNoSync,
}

/// How a log is kept.
#[derive(Clone, Copy, Debug)]
pub struct WalOptions {
    /// The length of a segment. Fixed when the log is created.
    pub segment_bytes: u64,
    /// Where frames begin, in segments that are begun from now on.
    pub frame_alignment: FrameAlignment,
    /// Whether writes are made durable.
    pub durability: Durability,
}

impl Default for WalOptions {
    fn default() -> Self {
        Self {
            segment_bytes: SEGMENT_BYTES,
            frame_alignment: FrameAlignment::PAGE,
            durability: Durability::Sync,
        }
    }
}

impl WalOptions {
    fn sync(self, file: &dyn DiskFile) -> io::Result<()> {
        match self.durability {
            Durability::Sync => file.sync(),
            Durability::UnsafeNoSync => Ok(()),
        }
    }
}

/// What is to be written at once.
#[derive(Clone, Debug, Default)]
pub struct LogWrite {
    /// What raft must remember, if it changed.
    pub hard_state: Option<eraftpb::HardState>,
    /// Where the log begins, if that changed.
    pub marker: Option<Marker>,
    /// Entries with consecutive indexes: they follow the log's last, or take the place of those
    /// from their first index on.
    pub entries: Vec<eraftpb::Entry>,
}

impl LogWrite {
    /// Whether there is nothing to write.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.hard_state.is_none() && self.marker.is_none() && self.entries.is_empty()
    }
}

/// The write-ahead log of a member. See the module for its bytes and rules.
///
/// Invariants:
/// 1. `segments` is never empty, their numbers are consecutive, and the last is written to.
/// 2. `position` is where the last segment's frames end, `chain` the CRC of the last one.
/// 3. `hard_state` and `marker` are the last that are durable.
/// 4. After an error of [`Wal::append`] or [`Wal::release`] that touched the disk, `poisoned`.
pub struct Wal {
    disk: Arc<dyn Disk>,
    options: WalOptions,
    identity: Identity,
    segments: VecDeque<Segment>,
    offsets: EntryOffsets,
    pool: SegmentPool,
    position: u64,
    chain: u32,
    hard_state: eraftpb::HardState,
    marker: Marker,
    /// A frame being put together; kept for its allocation.
    frame: Vec<u8>,
    poisoned: bool,
    /// Where the log ended when it was opened.
    tail: Option<LogTail>,
}

/// A segment that is in use.
struct Segment {
    number: u64,
    file: Arc<dyn DiskFile>,
    /// The CRC of its header.
    seed: u32,
    /// Where its frames may begin.
    alignment: FrameAlignment,
}

impl Wal {
    /// Whether there is a log on `disk`.
    ///
    /// # Errors
    ///
    /// [`WalError::Io`].
    pub fn exists(disk: &dyn Disk) -> Result<bool, WalError> {
        Ok(!recovery::segment_numbers(disk)?.is_empty())
    }

    /// Begins a log with `first`, which is there if the log is.
    ///
    /// # Errors
    ///
    /// [`WalError::Exists`] if there is one, [`WalError::Io`] if the disk fails, and then there is
    /// none.
    pub fn create(
        disk: Arc<dyn Disk>,
        identity: Identity,
        options: WalOptions,
        first: &LogWrite,
    ) -> Result<Self, WalError> {
        check_options(options)?;
        if Self::exists(disk.as_ref())? {
            return Err(WalError::Exists);
        }
        let pool = SegmentPool::open(disk.as_ref(), options)?;
        let mut wal = Self {
            disk,
            options,
            identity,
            segments: VecDeque::new(),
            offsets: EntryOffsets::new(),
            pool,
            position: 0,
            chain: 0,
            hard_state: first.hard_state.unwrap_or_default(),
            marker: first.marker.clone().unwrap_or_default(),
            frame: Vec::new(),
            poisoned: false,
            tail: None,
        };
        wal.check_entries(&first.entries)?;
        wal.begin_segment(1, &first.entries)?;
        Ok(wal)
    }

    /// Writes, and makes durable, everything in `write`.
    ///
    /// # Errors
    ///
    /// [`WalError::TooLarge`] and [`WalError::NotConsecutive`] before anything is written. Any
    /// other error means that it is not known what was written: the log refuses all that comes
    /// after.
    pub fn append(&mut self, write: &LogWrite) -> Result<(), WalError> {
        if self.poisoned {
            return Err(WalError::Poisoned);
        }
        self.check_entries(&write.entries)?;
        if write.is_empty() {
            return Ok(());
        }
        self.poisoned = true;
        let result = self.write_frames(write);
        self.poisoned = result.is_err();
        result
    }

    /// Gives back the segments that hold nothing but entries up to the marker.
    ///
    /// # Errors
    ///
    /// [`WalError::Io`] if the disk fails; the log refuses all that comes after.
    pub fn release(&mut self) -> Result<(), WalError> {
        if self.poisoned {
            return Err(WalError::Poisoned);
        }
        self.offsets.forget_before(self.marker.index.next());
        let needed = self.offsets.first_segment();
        self.poisoned = true;
        let result = self.release_before(needed);
        self.poisoned = result.is_err();
        result
    }

    /// The entries from `from` up to but without `to`, as many as fit `bytes_max` of data, at
    /// least one.
    ///
    /// # Errors
    ///
    /// [`WalError::NoEntry`] if `from` is not in the log, [`WalError::Io`] and
    /// [`WalError::Corrupt`] if the disk fails.
    pub fn read(
        &self,
        from: LogIndex,
        to: LogIndex,
        bytes_max: usize,
    ) -> Result<Vec<eraftpb::Entry>, WalError> {
        let mut entries = Vec::new();
        let mut bytes = 0;
        let mut next = from;
        while next < to {
            let (place, end) = self
                .offsets
                .find(next)
                .ok_or(WalError::NoEntry { index: next })?;
            let before = next;
            let more = self.read_place(place, end.min(to), &mut next, |entry| {
                bytes += entry.data.len();
                let fits = entries.is_empty() || bytes <= bytes_max;
                if fits {
                    entries.push(entry);
                }
                fits
            })?;
            if !more {
                break;
            }
            if next == before {
                return Err(WalError::NoEntry { index: next });
            }
        }
        Ok(entries)
    }

    /// Whose log this is.
    #[must_use]
    pub fn identity(&self) -> Identity {
        self.identity
    }

    /// Where the log begins.
    pub(crate) fn marker(&self) -> &Marker {
        &self.marker
    }

    /// The data that an entry can have.
    #[must_use]
    pub fn entry_bytes_max(&self) -> usize {
        usize::try_from(self.options.segment_bytes / 2).unwrap_or(usize::MAX)
    }

    /// The bytes on disk that the log's segments take, spares included.
    #[must_use]
    pub fn disk_bytes(&self) -> u64 {
        (self.segments.len() + self.pool.count()) as u64 * self.options.segment_bytes
    }

    /// Where the log ended when it was opened, and what was cut off there; `None` of a new one.
    #[must_use]
    pub fn tail(&self) -> Option<&LogTail> {
        self.tail.as_ref()
    }

    /// What failed since this was last asked, and stops nothing: a spare segment could not be made.
    pub fn take_warning(&mut self) -> Option<WalError> {
        self.pool.take_warning()
    }

    /// How many segments are in use.
    #[must_use]
    pub fn segment_count(&self) -> usize {
        self.segments.len()
    }

    fn last_segment(&self) -> Option<&Segment> {
        self.segments.back()
    }

    fn check_entries(&self, entries: &[eraftpb::Entry]) -> Result<(), WalError> {
        let limit = self.entry_bytes_max();
        for entry in entries {
            if entry.data.len() > limit {
                return Err(WalError::TooLarge {
                    bytes: entry.data.len(),
                    limit,
                });
            }
        }
        for pair in entries.array_windows::<2>() {
            let [before, found] = pair;
            if found.index != before.index + 1 {
                return Err(WalError::NotConsecutive {
                    found: LogIndex::new(found.index),
                    before: LogIndex::new(before.index),
                });
            }
        }
        Ok(())
    }

    fn write_frames(&mut self, write: &LogWrite) -> Result<(), WalError> {
        self.frame.clear();
        self.frame.resize(FRAME_HEADER_BYTES, 0);
        if let Some(state) = &write.hard_state {
            record::push_hard_state(&mut self.frame, state);
        }
        if let Some(marker) = &write.marker {
            record::push_marker(&mut self.frame, marker);
        }
        let target = FRAME_BYTES_TARGET.min(self.entry_bytes_max());
        let mut rest = write.entries.as_slice();
        loop {
            let mut taken = 0;
            for entry in rest {
                let bytes = record::ENTRY_OVERHEAD_BYTES + entry.data.len();
                if taken > 0 && self.frame.len() + bytes > target {
                    break;
                }
                record::push_entry(&mut self.frame, entry);
                taken += 1;
            }
            let (now, later) = rest.split_at(taken);
            let place = self.write_frame()?;
            if rest.len() == write.entries.len() {
                self.remember(write);
            }
            if let (Some(first), Some(last)) = (now.first(), now.last()) {
                self.offsets
                    .note(place, LogIndex::new(first.index), LogIndex::new(last.index));
            }
            rest = later;
            if rest.is_empty() {
                break;
            }
            self.frame.truncate(FRAME_HEADER_BYTES);
        }
        let written = self.frame.len();
        if self.frame.capacity() > 2 * FRAME_BYTES_TARGET {
            self.frame = Vec::new();
        }
        self.pool.fill(self.disk.as_ref(), written);
        Ok(())
    }

    /// Takes note of what the first frame of a write has made durable; later segments repeat it.
    fn remember(&mut self, write: &LogWrite) {
        if let Some(state) = write.hard_state {
            self.hard_state = state;
        }
        if let Some(marker) = &write.marker {
            self.offsets.mark(marker);
            self.marker = marker.clone();
        }
    }

    /// Writes the frame that has been put together, in the next segment if this one is full.
    fn write_frame(&mut self) -> Result<(FrameOffset, u64), WalError> {
        let body_bytes = (self.frame.len() - FRAME_HEADER_BYTES) as u64;
        let last = self.last_segment();
        let (number, alignment) = last.map_or((1, self.options.frame_alignment), |last| {
            (last.number + 1, last.alignment)
        });
        if alignment.frame_end(self.position, body_bytes) > self.options.segment_bytes {
            let frame = std::mem::take(&mut self.frame);
            self.begin_segment(number, &[])?;
            self.frame = frame;
        }
        let Some(segment) = self.segments.back() else {
            return Err(WalError::NotFound);
        };
        let io = |action, source| WalError::Io {
            action,
            file: self.disk.place(&segment_name(segment.number)),
            source,
        };
        let sealed = seal_frame(&mut self.frame, self.chain, segment, self.position);
        let (header, end) = sealed.ok_or(WalError::TooLarge {
            bytes: self.frame.len(),
            limit: FRAME_BYTES_TARGET,
        })?;
        let place = FrameOffset {
            segment: segment.number,
            offset: self.position,
        };
        segment
            .file
            .write_at(&self.frame, self.position)
            .map_err(|source| io("write", source))?;
        self.options
            .sync(segment.file.as_ref())
            .map_err(|source| io("sync", source))?;
        let bytes = end - self.position;
        self.position = end;
        self.chain = header.crc;
        Ok((place, bytes))
    }

    /// Makes segment `number` the one that is written to: header and first frame, then the name.
    fn begin_segment(&mut self, number: u64, entries: &[eraftpb::Entry]) -> Result<(), WalError> {
        let PooledSegment {
            name: spare,
            file,
            recycled,
        } = self.pool.take(self.disk.as_ref())?;
        let header = SegmentHeader {
            number,
            identity: self.identity,
            previous_end: self.position,
            previous: self.chain,
            alignment: self.options.frame_alignment,
            recycled,
        };
        let (header_bytes, seed) = header.encode();
        let segment = Segment {
            number,
            file,
            seed,
            alignment: header.alignment,
        };
        let start = SEGMENT_HEADER_BYTES as u64;
        let mut frame = self.first_frame(entries);
        let (first, end) = seal_frame(&mut frame, seed, &segment, start)
            .filter(|(_, end)| *end <= self.options.segment_bytes)
            .ok_or(WalError::SegmentBytes {
                segment_bytes: self.options.segment_bytes,
            })?;
        let mut bytes = header_bytes.to_vec();
        bytes.extend_from_slice(&frame);

        let name = segment_name(number);
        let io = |action, source| WalError::Io {
            action,
            file: self.disk.place(&name),
            source,
        };
        segment
            .file
            .write_at(&bytes, 0)
            .map_err(|source| io("write", source))?;
        self.options
            .sync(segment.file.as_ref())
            .map_err(|source| io("sync", source))?;
        self.disk
            .rename(&spare, &name)
            .map_err(|source| io("name", source))?;
        self.disk
            .sync_dir()
            .map_err(|source| io("sync the directory of", source))?;
        self.segments.push_back(segment);
        if let (Some(first), Some(last)) = (entries.first(), entries.last()) {
            let place = FrameOffset {
                segment: number,
                offset: start,
            };
            let (first, last) = (LogIndex::new(first.index), LogIndex::new(last.index));
            self.offsets.note((place, end - start), first, last);
        }
        self.position = end;
        self.chain = first.crc;
        Ok(())
    }

    /// The first frame of a segment, with room for its header.
    fn first_frame(&self, entries: &[eraftpb::Entry]) -> Vec<u8> {
        let mut frame = vec![0; FRAME_HEADER_BYTES];
        record::push_hard_state(&mut frame, &self.hard_state);
        // A snapshot's marker drops what came before it, once; from here on it only says where
        // the log begins.
        let marker = Marker {
            origin: MarkerOrigin::Compaction,
            ..self.marker.clone()
        };
        record::push_marker(&mut frame, &marker);
        for entry in entries {
            record::push_entry(&mut frame, entry);
        }
        frame
    }

    fn release_before(&mut self, needed: Option<u64>) -> Result<(), WalError> {
        while self.segments.len() > 1 {
            let Some(oldest) = self.segments.front() else {
                break;
            };
            if needed.is_some_and(|needed| oldest.number >= needed) {
                break;
            }
            // One at a time, oldest first, each made durable: a crash leaves no hole.
            self.pool.recycle(
                self.disk.as_ref(),
                &segment_name(oldest.number),
                &oldest.file,
            )?;
            self.segments.pop_front();
        }
        Ok(())
    }

    /// Hands the entries of a place, from `next` up to `end`, to `each` until it says no; whether
    /// it never did.
    fn read_place(
        &self,
        place: FrameOffset,
        end: LogIndex,
        next: &mut LogIndex,
        mut each: impl FnMut(eraftpb::Entry) -> bool,
    ) -> Result<bool, WalError> {
        let segment = self
            .segments
            .iter()
            .find(|segment| segment.number == place.segment);
        let Some(segment) = segment else {
            return Err(WalError::NoEntry { index: *next });
        };
        let is_last = self
            .last_segment()
            .is_some_and(|last| last.number == segment.number);
        let limit = if is_last {
            self.position
        } else {
            self.options.segment_bytes
        };
        let name = self.disk.place(&segment_name(segment.number));
        let mut reader = FrameReader::new(segment, limit);
        let mut offset = place.offset;
        while *next < end {
            let frame = reader.frame(offset).map_err(|source| WalError::Io {
                action: "read",
                file: name.clone(),
                source,
            })?;
            let corrupt = |damage| WalError::Corrupt {
                file: name.clone(),
                offset,
                damage,
            };
            let FrameAt::Whole { header, mut body } = frame else {
                return Err(corrupt(Damage::Frame));
            };
            while let Some(record) =
                record::take_record(&mut body).map_err(|bad| corrupt(bad.into()))?
            {
                if let Record::Entry(entry) = record
                    && entry.index == next.get()
                    && *next < end
                {
                    if !each(entry) {
                        return Ok(false);
                    }
                    *next = next.next();
                }
            }
            offset = header.end(offset, segment.alignment);
        }
        Ok(true)
    }
}

/// Puts the header before the body that is in `frame`, and zeros after it up to where the next
/// frame of the segment begins, if this one is at `offset`; the header, and that place.
fn seal_frame(
    frame: &mut Vec<u8>,
    previous: u32,
    segment: &Segment,
    offset: u64,
) -> Option<(FrameHeader, u64)> {
    let (head, body) = frame.split_first_chunk_mut::<FRAME_HEADER_BYTES>()?;
    let header = FrameHeader::of_body(body, previous, segment.seed)?;
    *head = header.encode();
    let end = header.end(offset, segment.alignment);
    frame.resize(usize::try_from(end - offset).ok()?, 0);
    Some((header, end))
}

fn check_options(options: WalOptions) -> Result<(), WalError> {
    let segment_bytes = options.segment_bytes;
    let alignment = u64::from(options.frame_alignment.bytes());
    let least = SEGMENT_BYTES_MIN.max(FRAMES_MIN * alignment);
    let aligned = segment_bytes.is_multiple_of(alignment);
    if segment_bytes < least || segment_bytes > u32::MAX.into() || !aligned {
        return Err(WalError::SegmentBytes { segment_bytes });
    }
    Ok(())
}

#[cfg(test)]
mod tests;
