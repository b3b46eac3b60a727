//! Records, one after another, of one file.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use prost::Message;

use super::error::{WalDamage, WalError};
use super::{CRC, FRAME_HEADER_BYTES, RECORD_BYTES_MAX, SECTOR_BYTES};
use crate::messages::Record;

/// A record and where its frame begins.
pub(super) struct RecordAt {
    pub(super) offset: u64,
    pub(super) kind: i64,
    pub(super) data: Bytes,
}

/// Reads a file's records and checks their chain.
pub(super) struct FileReader<R = BufReader<File>> {
    path: PathBuf,
    input: R,
    length: u64,
    offset: u64,
    /// The last file may end in a torn frame.
    is_last: bool,
    chain: u32,
}

impl FileReader {
    pub(super) fn open(path: &Path, is_last: bool, chain: u32) -> Result<Self, WalError> {
        let failed = |source| WalError::Io {
            path: path.to_owned(),
            source,
        };
        let file = File::open(path).map_err(failed)?;
        let length = file.metadata().map_err(failed)?.len();
        Ok(Self::new(
            path.to_owned(),
            BufReader::with_capacity(1 << 20, file),
            length,
            is_last,
            chain,
        ))
    }
}

impl<R: Read> FileReader<R> {
    pub(super) fn new(path: PathBuf, input: R, length: u64, is_last: bool, chain: u32) -> Self {
        Self {
            path,
            input,
            length,
            offset: 0,
            is_last,
            chain,
        }
    }

    /// The CRC of all records so far.
    pub(super) fn chain(&self) -> u32 {
        self.chain
    }

    pub(super) fn damaged(&self, offset: u64, damage: WalDamage) -> WalError {
        WalError::Damaged {
            path: self.path.clone(),
            offset,
            damage,
        }
    }

    /// The next record; none at the end, or where the last write was torn.
    pub(super) fn next(&mut self) -> Result<Option<RecordAt>, WalError> {
        let offset = self.offset;
        let left = self.length - offset;
        if left < FRAME_HEADER_BYTES {
            return Ok(None);
        }
        let mut header = [0; 8];
        self.fill(&mut header)?;
        let header = u64::from_le_bytes(header);
        if header == 0 {
            return Ok(None);
        }
        let record_bytes = header & !(0xff << 56);
        let padding = if header >> 63 == 1 {
            header >> 56 & 0x7
        } else {
            0
        };
        let bytes = record_bytes + padding;
        if bytes > left - FRAME_HEADER_BYTES {
            let length = self.length;
            let damage = WalDamage::Short { bytes, length };
            return self.torn_or(true, offset, damage);
        }
        if bytes > RECORD_BYTES_MAX {
            return Err(self.damaged(offset, WalDamage::TooLong(bytes)));
        }
        // At most `RECORD_BYTES_MAX`.
        let mut frame = vec![0; usize::try_from(bytes).unwrap_or_default()];
        self.fill(&mut frame)?;
        let is_torn = has_zero_sector(&frame, offset + FRAME_HEADER_BYTES);
        let mut frame = Bytes::from(frame);
        frame.truncate(usize::try_from(record_bytes).unwrap_or_default());
        let Ok(record) = Record::decode(frame) else {
            return self.torn_or(is_torn, offset, WalDamage::Undecodable);
        };
        let data = record.data.unwrap_or_default();
        let kind = record.kind.unwrap_or_default();
        let stored = record.crc.unwrap_or_default();
        if kind == CRC {
            // The first record of all begins the chain.
            if self.chain != 0 && self.chain != stored {
                let computed = self.chain;
                return Err(self.damaged(offset, WalDamage::Checksum { stored, computed }));
            }
            self.chain = stored;
        } else {
            let computed = crc32c::crc32c_append(self.chain, &data);
            if computed != stored {
                return self.torn_or(is_torn, offset, WalDamage::Checksum { stored, computed });
            }
            self.chain = computed;
        }
        self.offset = offset + FRAME_HEADER_BYTES + bytes;
        Ok(Some(RecordAt { offset, kind, data }))
    }

    /// The end of the log, if this is the last file and what was read may be half of a write.
    fn torn_or(
        &self,
        is_torn: bool,
        offset: u64,
        damage: WalDamage,
    ) -> Result<Option<RecordAt>, WalError> {
        if is_torn && self.is_last {
            return Ok(None);
        }
        Err(self.damaged(offset, damage))
    }

    fn fill(&mut self, buffer: &mut [u8]) -> Result<(), WalError> {
        self.input
            .read_exact(buffer)
            .map_err(|source: io::Error| WalError::Io {
                path: self.path.clone(),
                source,
            })
    }
}

/// Whether a sector of the file that lies in `bytes`, or the part of it that does, is all zero: it
/// never reached the disk.
fn has_zero_sector(bytes: &[u8], offset: u64) -> bool {
    let first = usize::try_from(SECTOR_BYTES - offset % SECTOR_BYTES).unwrap_or_default();
    let (head, rest) = bytes.split_at(first.min(bytes.len()));
    let sector = usize::try_from(SECTOR_BYTES).unwrap_or(1);
    let mut sectors = std::iter::once(head).chain(rest.chunks(sector));
    sectors.any(|sector| !sector.is_empty() && sector.iter().all(|byte| *byte == 0))
}
