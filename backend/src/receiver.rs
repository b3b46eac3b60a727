//! Receiving the database of another member.

use crate::KEY_BYTES_MAX;
use crate::applied::{self, Applied};
use crate::engine::{Entry, Incoming};
use crate::error::{ReceiveError, TransferError};
use crate::table::Table;
use crate::transfer::{Checksum, Chunk, Totals, TransferHeader};

/// How many received databases may wait to be installed: one is usual, and a second that overtakes it.
pub(crate) const RECEIVED_MAX: usize = 4;

/// Builds the database that a [`crate::SnapshotSender`] sends beside the one that is in use.
///
/// Nothing of it is trusted before [`SnapshotReceiver::finish`]: dropped before, or after an error,
/// it leaves nothing. It holds no more memory than the chunk it is given.
pub struct SnapshotReceiver {
    incoming: Box<dyn Incoming>,
    checksum: Checksum,
    stage: Stage,
    totals: Totals,
    /// The last row.
    last: Option<(Table, Vec<u8>)>,
    /// What the rows say that they stand for.
    stored: Applied,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Beginning,
    Rows(TransferHeader),
    Ended(TransferHeader),
    Failed,
}

impl SnapshotReceiver {
    pub(crate) fn new(incoming: Box<dyn Incoming>) -> Self {
        Self {
            incoming,
            checksum: Checksum::default(),
            stage: Stage::Beginning,
            totals: Totals::default(),
            last: None,
            stored: Applied::default(),
        }
    }

    /// Takes the next chunk, whole as it was sent.
    ///
    /// # Errors
    ///
    /// If it is not what should come next, or cannot be written. There is no going on then.
    pub fn write(&mut self, chunk: &[u8]) -> Result<(), ReceiveError> {
        self.write_and_see(chunk, &mut |_, _| {})
    }

    /// As [`Self::write`]; `see` gets the rows, once they are checked and written.
    ///
    /// # Errors
    ///
    /// As [`Self::write`].
    pub fn write_and_see(
        &mut self,
        chunk: &[u8],
        see: &mut dyn FnMut(Table, &[Entry<'_>]),
    ) -> Result<(), ReceiveError> {
        let stage = std::mem::replace(&mut self.stage, Stage::Failed);
        self.stage = match (stage, self.checksum.read(chunk)?) {
            (Stage::Beginning, Chunk::Begin(header)) => Stage::Rows(header),
            (Stage::Rows(header), Chunk::Rows { table, rows }) => {
                let rows = rows.collect::<Result<Vec<_>, _>>()?;
                self.check_rows(table, &rows)?;
                self.incoming.append(table, &rows)?;
                see(table, &rows);
                Stage::Rows(header)
            }
            (Stage::Rows(header), Chunk::End(totals)) => {
                if totals != self.totals {
                    return Err(TransferError::Incomplete.into());
                }
                if self.stored != header.applied {
                    return Err(TransferError::Misnamed {
                        announced: header.applied,
                        stored: self.stored,
                    }
                    .into());
                }
                Stage::Ended(header)
            }
            _ => return Err(TransferError::Malformed.into()),
        };
        Ok(())
    }

    /// What the sender has announced, once the first chunk is there.
    #[must_use]
    pub const fn header(&self) -> Option<TransferHeader> {
        match self.stage {
            Stage::Rows(header) | Stage::Ended(header) => Some(header),
            Stage::Beginning | Stage::Failed => None,
        }
    }

    /// How many bytes of keys and values have been received.
    #[must_use]
    pub const fn received_bytes(&self) -> u64 {
        self.totals.bytes
    }

    /// Makes what was received durable, whole: from now on it outlives a crash and can be installed,
    /// as [`crate::Backend::received`] tells.
    ///
    /// # Errors
    ///
    /// If the last chunk has not come, too many wait already, or nothing can be made durable. All is
    /// then as before.
    pub fn finish(self) -> Result<Applied, ReceiveError> {
        let Stage::Ended(header) = self.stage else {
            return Err(TransferError::Incomplete.into());
        };
        self.incoming.finish(header.applied)?;
        Ok(header.applied)
    }

    /// Checks that rows go on where the last ones stopped, and counts them.
    fn check_rows(&mut self, table: Table, rows: &[Entry<'_>]) -> Result<(), TransferError> {
        let after = self.last.as_ref();
        let mut before = match after {
            Some((last, _)) if *last > table => return Err(TransferError::OutOfOrder),
            Some((last, key)) if *last == table => key.as_slice(),
            _ => &[],
        };
        for &(key, value) in rows {
            if !(1..=KEY_BYTES_MAX).contains(&key.len()) {
                return Err(TransferError::InvalidKey { bytes: key.len() });
            }
            if key <= before {
                return Err(TransferError::OutOfOrder);
            }
            before = key;
            self.totals.add(key, value);
            if table == Table::Meta {
                match key {
                    applied::INDEX_KEY => self.stored.index = applied::number(key, value)?,
                    applied::TERM_KEY => self.stored.term = applied::number(key, value)?,
                    _ => {}
                }
            }
        }
        let last = before.to_vec();
        self.last = Some((table, last));
        Ok(())
    }
}

impl std::fmt::Debug for SnapshotReceiver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SnapshotReceiver")
            .field("stage", &self.stage)
            .field("totals", &self.totals)
            .finish_non_exhaustive()
    }
}
