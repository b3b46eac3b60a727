//! The stream by which a database goes to another member, as chunks.
//!
//! ```text
//! chunk   ┌ CRC32C, 4 bytes ┬ kind, 1 byte ┬ body ┐
//! 1 begin body: "CAIRNSNP", version (2), applied index (8), its term (8), bytes expected (8)
//! 2 rows  body: length of the table's name (1), name, then rows of it:
//!               length of the key (2), key, length of the value (4), value
//! 3 end   body: rows sent (8), bytes of their keys and values (8)
//! ```
//!
//! Numbers are big-endian. The checksum is over kind and body and goes on from that of the chunk
//! before: so it is over all that was sent, and no chunk can be missing, twice or out of place. Rows
//! come in the order of tables and keys, each once. A stream is one `begin`, any `rows`, one `end`.

use crate::applied::Applied;
use crate::error::TransferError;
use crate::table::Table;

/// What a stream begins with.
const MAGIC: &[u8; 8] = b"CAIRNSNP";

/// The version of the format.
const VERSION: u16 = 1;

const KIND_BEGIN: u8 = 1;
const KIND_ROWS: u8 = 2;
const KIND_END: u8 = 3;

/// How many bytes of a chunk come before its body.
const HEAD_BYTES: usize = 5;

/// How many bytes of a row are neither key nor value.
pub(crate) const ROW_OVERHEAD_BYTES: usize = 6;

/// What a sent database is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TransferHeader {
    /// What it stands for.
    pub applied: Applied,
    /// About how many bytes it is: what the sender's database has in use.
    pub expected_bytes: u64,
}

/// What a sent database came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    pub(crate) rows: u64,
    /// Of keys and values.
    pub(crate) bytes: u64,
}

/// A chunk that was read; its rows are still to be parsed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Chunk<'c> {
    Begin(TransferHeader),
    Rows { table: Table, rows: Rows<'c> },
    End(Totals),
}

/// The rows of a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rows<'c>(&'c [u8]);

/// The running checksum of a stream.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Checksum(u32);

/// A chunk of rows that is being made.
pub(crate) struct RowsWriter {
    bytes: Vec<u8>,
}

impl Totals {
    pub(crate) fn add(&mut self, key: &[u8], value: &[u8]) {
        self.rows += 1;
        self.bytes += (key.len() + value.len()) as u64;
    }
}

impl Checksum {
    pub(crate) fn begin(&mut self, header: &TransferHeader) -> Vec<u8> {
        let mut chunk = unfinished(KIND_BEGIN);
        chunk.extend_from_slice(MAGIC);
        chunk.extend_from_slice(&VERSION.to_be_bytes());
        for number in [
            header.applied.index,
            header.applied.term,
            header.expected_bytes,
        ] {
            chunk.extend_from_slice(&number.to_be_bytes());
        }
        self.finish(chunk)
    }

    pub(crate) fn rows(&mut self, rows: RowsWriter) -> Vec<u8> {
        self.finish(rows.bytes)
    }

    pub(crate) fn end(&mut self, totals: Totals) -> Vec<u8> {
        let mut chunk = unfinished(KIND_END);
        chunk.extend_from_slice(&totals.rows.to_be_bytes());
        chunk.extend_from_slice(&totals.bytes.to_be_bytes());
        self.finish(chunk)
    }

    /// Reads the next chunk.
    pub(crate) fn read<'c>(&mut self, chunk: &'c [u8]) -> Result<Chunk<'c>, TransferError> {
        let (stored, summed) = chunk.split_first_chunk().ok_or(TransferError::Malformed)?;
        let computed = crc32c::crc32c_append(self.0, summed);
        if u32::from_be_bytes(*stored) != computed {
            return Err(TransferError::Checksum);
        }
        self.0 = computed;
        let mut body = Body(summed);
        match body.take(1)? {
            [KIND_BEGIN] => {
                if body.take(MAGIC.len())? != MAGIC {
                    return Err(TransferError::Malformed);
                }
                let version = body.number::<2>()?;
                if version != u64::from(VERSION) {
                    return Err(TransferError::Version { version });
                }
                let applied = Applied {
                    index: body.number::<8>()?,
                    term: body.number::<8>()?,
                };
                let expected_bytes = body.number::<8>()?;
                body.end(Chunk::Begin(TransferHeader {
                    applied,
                    expected_bytes,
                }))
            }
            [KIND_ROWS] => {
                let length = body.length::<1>()?;
                let name = body.take(length)?;
                let table = Table::ALL
                    .into_iter()
                    .find(|table| table.name().as_bytes() == name)
                    .ok_or_else(|| TransferError::UnknownTable {
                        name: String::from_utf8_lossy(name).into_owned(),
                    })?;
                Ok(Chunk::Rows {
                    table,
                    rows: Rows(body.0),
                })
            }
            [KIND_END] => {
                let totals = Totals {
                    rows: body.number::<8>()?,
                    bytes: body.number::<8>()?,
                };
                body.end(Chunk::End(totals))
            }
            _ => Err(TransferError::Malformed),
        }
    }

    fn finish(&mut self, mut chunk: Vec<u8>) -> Vec<u8> {
        if let Some((checksum, summed)) = chunk.split_first_chunk_mut() {
            self.0 = crc32c::crc32c_append(self.0, summed);
            *checksum = self.0.to_be_bytes();
        }
        chunk
    }
}

/// A chunk without its checksum and body.
fn unfinished(kind: u8) -> Vec<u8> {
    vec![0, 0, 0, 0, kind]
}

impl RowsWriter {
    /// A chunk of rows of a table, with room for about `bytes`.
    pub(crate) fn new(table: Table, bytes: usize) -> Self {
        let name = table.name().as_bytes();
        let mut chunk = Self {
            bytes: Vec::with_capacity(HEAD_BYTES + 1 + name.len() + bytes),
        };
        chunk.bytes.extend_from_slice(&unfinished(KIND_ROWS));
        chunk.length::<1>(name.len());
        chunk.bytes.extend_from_slice(name);
        chunk
    }

    pub(crate) fn push(&mut self, key: &[u8], value: &[u8]) {
        self.length::<2>(key.len());
        self.bytes.extend_from_slice(key);
        self.length::<4>(value.len());
        self.bytes.extend_from_slice(value);
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Appends a length in `N` bytes: names are short, keys at most 511 bytes and values LMDB's.
    fn length<const N: usize>(&mut self, length: usize) {
        let bytes = (length as u64).to_be_bytes();
        let (high, low) = bytes.split_at(bytes.len() - N);
        assert!(high.iter().all(|byte| *byte == 0), "a length has room");
        self.bytes.extend_from_slice(low);
    }
}

impl<'c> Iterator for Rows<'c> {
    type Item = Result<(&'c [u8], &'c [u8]), TransferError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let mut body = Body(self.0);
        let row = body.row();
        self.0 = if row.is_ok() { body.0 } else { &[] };
        Some(row)
    }
}

/// What is left of a body.
struct Body<'c>(&'c [u8]);

impl<'c> Body<'c> {
    fn take(&mut self, length: usize) -> Result<&'c [u8], TransferError> {
        let (taken, rest) = self
            .0
            .split_at_checked(length)
            .ok_or(TransferError::Malformed)?;
        self.0 = rest;
        Ok(taken)
    }

    fn number<const N: usize>(&mut self) -> Result<u64, TransferError> {
        let bytes = self.take(N)?;
        Ok(bytes
            .iter()
            .fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }

    fn length<const N: usize>(&mut self) -> Result<usize, TransferError> {
        usize::try_from(self.number::<N>()?).map_err(|_| TransferError::Malformed)
    }

    fn row(&mut self) -> Result<(&'c [u8], &'c [u8]), TransferError> {
        let length = self.length::<2>()?;
        let key = self.take(length)?;
        let length = self.length::<4>()?;
        Ok((key, self.take(length)?))
    }

    fn end(self, chunk: Chunk<'c>) -> Result<Chunk<'c>, TransferError> {
        if self.0.is_empty() {
            Ok(chunk)
        } else {
            Err(TransferError::Malformed)
        }
    }
}

#[cfg(test)]
mod tests;
