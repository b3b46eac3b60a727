//! A log as a whole: what all its records come to.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use prost::Message;

use super::error::{WalDamage, WalError};
use super::reader::{FileReader, RecordAt};
use super::{CRC, ENTRY, METADATA, SNAPSHOT, STATE, parse_name};
use crate::messages::{ConfState, Entry, HardState, Metadata, Record, SnapshotRecord};
use crate::source::Source;

/// A log that was read through.
///
/// It keeps where entries are, not what they say.
///
/// Invariant: the indexes of `entries` ascend without a gap.
pub struct Log {
    files: Vec<PathBuf>,
    metadata: Metadata,
    hard_state: HardState,
    snapshots: Vec<SnapshotPoint>,
    entries: VecDeque<Place>,
}

/// A snapshot that the log mentions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotPoint {
    /// The last entry in it.
    pub index: u64,
    /// Its term.
    pub term: u64,
    /// Who took part in raft, since etcd 3.5.
    pub conf_state: Option<ConfState>,
}

/// Where an entry is.
#[derive(Clone, Copy)]
struct Place {
    index: u64,
    file: u32,
    offset: u64,
}

impl Log {
    /// Whether there is a log in `directory`.
    #[must_use]
    pub fn exists(directory: &Path) -> bool {
        names(directory).is_ok_and(|names| !names.is_empty())
    }

    /// Reads all of a log.
    ///
    /// # Errors
    ///
    /// [`WalError`].
    pub fn read(directory: &Path) -> Result<Self, WalError> {
        let names = names(directory)?;
        let (Some((first, ..)), Some((last, ..))) = (names.first(), names.last()) else {
            return Err(WalError::Missing {
                path: directory.to_owned(),
            });
        };
        let (first, last) = (*first, *last);
        for (expected, (sequence, ..)) in (first..).zip(&names) {
            if *sequence != expected {
                return Err(WalError::Gap {
                    path: directory.to_owned(),
                    sequence: expected,
                });
            }
        }
        let mut reading = Reading::default();
        let mut chain = 0;
        let mut files = Vec::new();
        for (number, (sequence, _, path)) in (0..).zip(names) {
            let mut file = FileReader::open(&path, sequence == last, chain)?;
            while let Some(record) = file.next()? {
                let offset = record.offset;
                reading
                    .take(number, record)
                    .map_err(|damage| file.damaged(offset, damage))?;
            }
            chain = file.chain();
            files.push(path);
        }
        let Reading {
            metadata,
            hard_state,
            snapshots,
            entries,
        } = reading;
        let metadata = metadata.ok_or_else(|| WalError::NoMetadata {
            path: directory.to_owned(),
        })?;
        Ok(Self {
            files,
            metadata,
            hard_state,
            snapshots,
            entries,
        })
    }

    /// Whose log it is.
    #[must_use]
    pub fn metadata(&self) -> Metadata {
        self.metadata
    }

    /// What raft must remember.
    #[must_use]
    pub fn hard_state(&self) -> HardState {
        self.hard_state
    }

    /// The snapshots that it mentions, in the order in which they were made.
    #[must_use]
    pub fn snapshots(&self) -> &[SnapshotPoint] {
        &self.snapshots
    }

    /// The first entry that is there, and the last; none if there are none.
    #[must_use]
    pub fn extent(&self) -> Option<(u64, u64)> {
        Some((self.entries.front()?.index, self.entries.back()?.index))
    }

    /// Reads an entry; none if it is not there.
    ///
    /// # Errors
    ///
    /// [`WalError`].
    pub fn entry(&self, index: u64) -> Result<Option<Entry>, WalError> {
        let place = self.extent().and_then(|(first, _)| {
            let at = usize::try_from(index.checked_sub(first)?).ok()?;
            self.entries.get(at)
        });
        let Some(place) = place else {
            return Ok(None);
        };
        let path = usize::try_from(place.file).ok();
        let Some(path) = path.and_then(|file| self.files.get(file)) else {
            return Ok(None);
        };
        let failed = |source| WalError::Io {
            path: path.clone(),
            source,
        };
        let file = File::open(path).map_err(failed)?;
        let mut header = [0; 8];
        file.read_at(&mut header, place.offset).map_err(failed)?;
        let bytes = u64::from_le_bytes(header) & !(0xff << 56);
        let damaged = |damage| WalError::Damaged {
            path: path.clone(),
            offset: place.offset,
            damage,
        };
        if bytes > super::RECORD_BYTES_MAX {
            return Err(damaged(WalDamage::TooLong(bytes)));
        }
        let mut record = vec![0; usize::try_from(bytes).unwrap_or_default()];
        file.read_at(&mut record, place.offset + super::FRAME_HEADER_BYTES)
            .map_err(failed)?;
        let record = Record::decode(record.as_slice()).ok();
        let entry = record.and_then(|it| Entry::decode(it.data.unwrap_or_default()).ok());
        let entry = entry.filter(|entry| entry.index.unwrap_or_default() == index);
        entry
            .map(Some)
            .ok_or_else(|| damaged(WalDamage::Undecodable))
    }
}

/// What was read so far.
#[derive(Default)]
struct Reading {
    metadata: Option<Metadata>,
    hard_state: HardState,
    snapshots: Vec<SnapshotPoint>,
    entries: VecDeque<Place>,
}

impl Reading {
    fn take(&mut self, file: u32, record: RecordAt) -> Result<(), WalDamage> {
        let RecordAt { offset, kind, data } = record;
        let undecodable = |_| WalDamage::Undecodable;
        match kind {
            METADATA => {
                let found = Metadata::decode(data).map_err(undecodable)?;
                if *self.metadata.get_or_insert(found) != found {
                    return Err(WalDamage::OtherMember);
                }
            }
            ENTRY => {
                let entry = Entry::decode(data).map_err(undecodable)?;
                let index = entry.index.filter(|index| *index > 0);
                let index = index.ok_or(WalDamage::NoIndex)?;
                self.take_entry(Place {
                    index,
                    file,
                    offset,
                })?;
            }
            STATE => self.hard_state = HardState::decode(data).map_err(undecodable)?,
            CRC => {}
            SNAPSHOT => {
                let found = SnapshotRecord::decode(data).map_err(undecodable)?;
                self.take_snapshot(found);
            }
            other => return Err(WalDamage::Type(other)),
        }
        Ok(())
    }

    /// An entry follows the last one, or takes the place of those from its index on.
    fn take_entry(&mut self, place: Place) -> Result<(), WalDamage> {
        if let (Some(first), Some(last)) = (self.entries.front(), self.entries.back()) {
            if place.index > last.index + 1 {
                return Err(WalDamage::EntryGap {
                    found: place.index,
                    before: last.index,
                });
            }
            let kept = place.index.saturating_sub(first.index);
            self.entries
                .truncate(usize::try_from(kept).unwrap_or_default());
        }
        self.entries.push_back(place);
        Ok(())
    }

    /// A snapshot that is ahead of all entries was another member's: the log begins anew after it.
    fn take_snapshot(&mut self, found: SnapshotRecord) {
        let point = SnapshotPoint {
            index: found.index.unwrap_or_default(),
            term: found.term.unwrap_or_default(),
            conf_state: found.conf_state,
        };
        if self
            .entries
            .back()
            .is_some_and(|last| last.index < point.index)
        {
            self.entries.clear();
        }
        self.snapshots.push(point);
    }
}

/// The files of a log in the order of their numbers.
fn names(directory: &Path) -> Result<Vec<(u64, u64, PathBuf)>, WalError> {
    let failed = |source| WalError::Io {
        path: directory.to_owned(),
        source,
    };
    let mut names = Vec::new();
    for entry in fs::read_dir(directory).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        if let Some((sequence, index)) = entry.file_name().to_str().and_then(parse_name) {
            names.push((sequence, index, entry.path()));
        }
    }
    names.sort_unstable();
    Ok(names)
}
