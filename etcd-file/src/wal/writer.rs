//! Writing a log of one file: a member's first, or the only one that it needs after a restore.

use std::io::{self, Write};

use bytes::Bytes;
use prost::Message;

use super::log::SnapshotPoint;
use super::{CRC, ENTRY, METADATA, SNAPSHOT, STATE};
use crate::messages::{Entry, HardState, Metadata, Record, SnapshotRecord};

/// The first file of a log, being written. Its name is `file_name(0, 0)`.
pub struct LogFile<W> {
    output: W,
    chain: u32,
}

impl<W: Write> LogFile<W> {
    /// Begins the log of a member.
    ///
    /// # Errors
    ///
    /// What `output` reports.
    pub fn begin(output: W, metadata: Metadata) -> io::Result<Self> {
        let mut log = Self { output, chain: 0 };
        let crc = Record {
            kind: Some(CRC),
            crc: Some(0),
            data: None,
        };
        log.put_record(&crc)?;
        log.put(METADATA, metadata.encode_to_vec().into())?;
        // The snapshot before all others, which every log mentions.
        log.snapshot(SnapshotPoint {
            index: 0,
            term: 0,
            conf_state: None,
        })?;
        Ok(log)
    }

    /// A snapshot that has all entries up to its index.
    ///
    /// # Errors
    ///
    /// What the output reports.
    pub fn snapshot(&mut self, point: SnapshotPoint) -> io::Result<()> {
        let record = SnapshotRecord {
            index: Some(point.index),
            term: Some(point.term),
            conf_state: point.conf_state,
        };
        self.put(SNAPSHOT, record.encode_to_vec().into())
    }

    /// An entry; indexes ascend by one.
    ///
    /// # Errors
    ///
    /// What the output reports.
    pub fn entry(&mut self, entry: &Entry) -> io::Result<()> {
        self.put(ENTRY, entry.encode_to_vec().into())
    }

    /// What raft must remember.
    ///
    /// # Errors
    ///
    /// What the output reports.
    pub fn hard_state(&mut self, state: HardState) -> io::Result<()> {
        self.put(STATE, state.encode_to_vec().into())
    }

    /// Gives the output back, with all in it.
    pub fn finish(self) -> W {
        self.output
    }

    fn put(&mut self, kind: i64, data: Bytes) -> io::Result<()> {
        self.chain = crc32c::crc32c_append(self.chain, &data);
        self.put_record(&Record {
            kind: Some(kind),
            crc: Some(self.chain),
            data: Some(data),
        })
    }

    fn put_record(&mut self, record: &Record) -> io::Result<()> {
        let record = record.encode_to_vec();
        let padding = record.len().next_multiple_of(8) - record.len();
        let mut header = record.len() as u64;
        if padding > 0 {
            header |= (0x80 | padding as u64) << 56;
        }
        self.output.write_all(&header.to_le_bytes())?;
        self.output.write_all(&record)?;
        self.output
            .write_all([0; 8].get(..padding).unwrap_or_default())
    }
}
