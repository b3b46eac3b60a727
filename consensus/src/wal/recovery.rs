//! Recovery: from files to a log that can be written to. The rules are in the module above.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use raft::eraftpb;

use super::entry_offsets::{EntryOffsets, FrameOffset};
use super::reader::{FrameAt, FrameReader};
use super::record::{self, Marker, Record};
use super::segment::{SEGMENT_HEADER_BYTES, SegmentHeader, segment_name, segment_number};
use super::segment_pool::SegmentPool;
use super::tail::{LogTail, TailKind};
use super::{Damage, Segment, Wal, WalError, WalOptions, check_options, io_error};
use crate::disk::{Disk, DiskFile};
use crate::log_index::LogIndex;
use crate::member_id::Identity;

/// The numbers of the segments on `disk`, in order.
pub(super) fn segment_numbers(disk: &dyn Disk) -> Result<Vec<u64>, WalError> {
    let names = disk
        .list()
        .map_err(|source| io_error("list the files of", disk, "", source))?;
    let mut numbers: Vec<_> = names
        .iter()
        .filter_map(|name| segment_number(name))
        .collect();
    numbers.sort_unstable();
    Ok(numbers)
}

impl Wal {
    /// Recovers the log on `disk`; every record goes through `visit`, in the order of writing.
    ///
    /// # Errors
    ///
    /// [`WalError::Corrupt`], [`WalError::Missing`] and [`WalError::Identity`] if what is there is
    /// not what was written, [`WalError::NotFound`] if nothing is, [`WalError::Io`] if the disk
    /// fails.
    pub(crate) fn open(
        disk: Arc<dyn Disk>,
        options: WalOptions,
        visit: &mut dyn FnMut(Record),
    ) -> Result<Self, WalError> {
        check_options(options)?;
        let numbers = segment_numbers(disk.as_ref())?;
        for pair in numbers.array_windows::<2>() {
            let [before, after] = pair;
            if *after != before + 1 {
                return Err(WalError::Missing { number: before + 1 });
            }
        }
        let mut recovery = Recovery::new(disk, options, visit);
        for number in numbers {
            recovery.segment(number)?;
        }
        let tail = recovery.tail()?;
        recovery.into_wal(tail)
    }
}

/// A log being recovered.
struct Recovery<'a> {
    disk: Arc<dyn Disk>,
    options: WalOptions,
    visit: &'a mut dyn FnMut(Record),
    identity: Option<Identity>,
    segments: VecDeque<Segment>,
    offsets: EntryOffsets,
    hard_state: eraftpb::HardState,
    marker: Marker,
    /// Where the frames end, and the last of them.
    position: u64,
    chain: u32,
    /// Where the last frame begins.
    last_frame: u64,
    /// Whether the last segment's file held another before.
    recycled: bool,
}

impl<'a> Recovery<'a> {
    fn new(disk: Arc<dyn Disk>, options: WalOptions, visit: &'a mut dyn FnMut(Record)) -> Self {
        Self {
            disk,
            options,
            visit,
            identity: None,
            segments: VecDeque::new(),
            offsets: EntryOffsets::new(),
            hard_state: eraftpb::HardState::default(),
            marker: Marker::default(),
            position: 0,
            chain: 0,
            last_frame: 0,
            recycled: false,
        }
    }

    /// Reads the next segment, up to where its frames end.
    fn segment(&mut self, number: u64) -> Result<(), WalError> {
        let name = segment_name(number);
        let disk = &*self.disk;
        let file = disk
            .open(&name)
            .map_err(|source| io_error("open", disk, &name, source))?;
        let length = file
            .length()
            .map_err(|source| io_error("measure", disk, &name, source))?;
        if length != self.options.segment_bytes {
            return Err(self.corrupt(number, 0, Damage::Length { bytes: length }));
        }
        let (header, seed) = self.read_header(file.as_ref(), number)?;
        if header.number != number {
            return Err(self.corrupt(
                number,
                0,
                Damage::Misnamed {
                    number: header.number,
                },
            ));
        }
        if self
            .identity
            .is_some_and(|identity| identity != header.identity)
        {
            return Err(WalError::Identity {
                file: disk.place(&name),
                found: header.identity,
            });
        }
        self.identity = Some(header.identity);
        if let Some(before) = self.segments.back()
            && (header.previous_end, header.previous) != (self.position, self.chain)
        {
            return Err(self.corrupt(before.number, self.position, Damage::Frame));
        }
        let segment = Segment {
            number,
            file,
            seed,
            alignment: header.alignment,
        };
        self.position = SEGMENT_HEADER_BYTES as u64;
        self.chain = seed;
        self.recycled = header.recycled;
        self.frames(&segment, FrameReader::new(&segment, length))?;
        self.segments.push_back(segment);
        Ok(())
    }

    fn frames(&mut self, segment: &Segment, mut reader: FrameReader) -> Result<(), WalError> {
        let number = segment.number;
        let first_frame = self.position;
        loop {
            let frame = reader.frame(self.position);
            let frame = frame
                .map_err(|source| io_error("read", &*self.disk, &segment_name(number), source))?;
            let FrameAt::Whole { header, mut body } = frame else {
                break;
            };
            if header.previous != self.chain {
                return Err(self.corrupt(number, self.position, Damage::Chain));
            }
            let mut span: Option<(LogIndex, LogIndex)> = None;
            let offset = self.position;
            while let Some(record) = record::take_record(&mut body)
                .map_err(|bad| self.corrupt(number, offset, bad.into()))?
            {
                match &record {
                    Record::Entry(entry) => {
                        let index = LogIndex::new(entry.index);
                        if let Some((_, before)) = span
                            && index != before.next()
                        {
                            let damage = Damage::NotConsecutive {
                                found: index,
                                before,
                            };
                            return Err(self.corrupt(number, offset, damage));
                        }
                        span = Some((span.map_or(index, |(first, _)| first), index));
                    }
                    Record::HardState(state) => self.hard_state = *state,
                    Record::Marker(marker) => {
                        self.marker = marker.clone();
                        self.offsets.mark(marker);
                    }
                }
                (self.visit)(record);
            }
            if let Some((first, last)) = span {
                let place = FrameOffset {
                    segment: number,
                    offset,
                };
                let bytes = header.end(offset, segment.alignment) - offset;
                self.offsets.note((place, bytes), first, last);
            }
            self.last_frame = offset;
            self.position = header.end(offset, segment.alignment);
            self.chain = header.crc;
        }
        // The first frame was durable before the file had its name.
        if self.position == first_frame {
            return Err(self.corrupt(number, first_frame, Damage::Frame));
        }
        Ok(())
    }

    /// Tells a torn tail, which is cut, from damage.
    ///
    /// A frame is written only when the one before it is durable. So a header anywhere behind the
    /// end means that what should be there was durable.
    fn tail(&self) -> Result<LogTail, WalError> {
        let last = self.segments.back().ok_or(WalError::NotFound)?;
        let file = segment_name(last.number);
        let mut reader = FrameReader::new(last, self.options.segment_bytes);
        let io = |source| io_error("read", &*self.disk, &file, source);
        let end = self.position;
        let torn = match reader.frame(end).map_err(io)? {
            FrameAt::Headless { header } | FrameAt::Whole { header, .. } => Some(header),
            FrameAt::Nothing => None,
        };
        // What a frame holds is not looked at for headers, unless it is not known to be a frame.
        let from = match torn {
            Some(header) => header.end(end, last.alignment),
            None => end,
        };
        let rest = reader.rest_from(from).map_err(io)?;
        if let Some(behind) = rest.header {
            return Err(self.corrupt(last.number, end, Damage::Followed { behind }));
        }
        let kind = match (torn, rest.data_end) {
            (Some(_), _) => TailKind::Torn { bytes: from - end },
            (None, None) => TailKind::Clean,
            (None, Some(data_end)) if self.recycled => TailKind::Leftover {
                bytes: data_end - end,
            },
            (None, Some(data_end)) => TailKind::Torn {
                bytes: data_end - end,
            },
        };
        Ok(LogTail {
            file: self.disk.place(&file),
            offset: end,
            kind,
        })
    }

    fn read_header(
        &self,
        file: &dyn DiskFile,
        number: u64,
    ) -> Result<(SegmentHeader, u32), WalError> {
        let mut bytes = [0; SEGMENT_HEADER_BYTES];
        let read = file.read_at(&mut bytes, 0);
        read.map_err(|source| io_error("read", &*self.disk, &segment_name(number), source))?;
        SegmentHeader::decode(&bytes).map_err(|bad| self.corrupt(number, 0, bad.into()))
    }

    fn corrupt(&self, number: u64, offset: u64, damage: Damage) -> WalError {
        WalError::Corrupt {
            file: self.disk.place(&segment_name(number)),
            offset,
            damage,
        }
    }

    fn into_wal(self, tail: LogTail) -> Result<Wal, WalError> {
        let (Some(identity), Some(last)) = (self.identity, self.segments.back()) else {
            return Err(WalError::NotFound);
        };
        rewrite(&*self.disk, last, self.last_frame, self.position)?;
        let disk = self.disk;
        disk.sync_dir()
            .map_err(|source| io_error("sync the directory", &*disk, "", source))?;
        let next_number = last.number + 1;
        let is_old = last.alignment != self.options.frame_alignment;
        let pool = SegmentPool::open(disk.as_ref(), self.options)?;
        let mut wal = Wal {
            disk,
            options: self.options,
            identity,
            segments: self.segments,
            offsets: self.offsets,
            pool,
            position: self.position,
            chain: self.chain,
            hard_state: self.hard_state,
            marker: self.marker,
            frame: Vec::new(),
            poisoned: false,
            tail: Some(tail),
        };
        wal.release()?;
        if is_old {
            wal.begin_segment(next_number, &[])?;
        }
        Ok(wal)
    }
}

/// Writes the last frame anew and syncs it: it may be in memory only.
fn rewrite(disk: &dyn Disk, segment: &Segment, from: u64, to: u64) -> Result<(), WalError> {
    let io = |action, source| io_error(action, disk, &segment_name(segment.number), source);
    let length = usize::try_from(to - from).map_err(|error| io("read", io::Error::other(error)))?;
    let mut bytes = vec![0; length];
    segment
        .file
        .read_at(&mut bytes, from)
        .map_err(|source| io("read", source))?;
    segment
        .file
        .write_at(&bytes, from)
        .map_err(|source| io("write", source))?;
    segment.file.sync().map_err(|source| io("sync", source))
}
