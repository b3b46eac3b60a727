//! Sending the database to another member.

use std::collections::VecDeque;
use std::ops::{Bound, ControlFlow};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;

use crate::applied::Applied;
use crate::error::{ReadError, SnapshotError};
use crate::read_tx::ReadTx;
use crate::table::Table;
use crate::transfer::{Checksum, ROW_OVERHEAD_BYTES, RowsWriter, Totals, TransferHeader};

/// How long a chunk is, but for a row that is longer: enough to make the sending of one cheap.
pub const CHUNK_BYTES: usize = 1024 * 1024;

/// One state of the whole database, read chunk by chunk; a [`crate::SnapshotReceiver`] takes them.
///
/// It holds a [`ReadTx`] from beginning to end. Reads and writes go on, but LMDB reuses no page that
/// is freed meanwhile, and a map that must grow waits: whoever sends to a peer that does not take
/// anything for long should drop it and begin again.
///
/// Between chunks it holds nothing else but its place. [`crate::Backend::is_sending`] tells that it
/// lives, so that what frees many pages can wait.
pub struct SnapshotSender {
    view: ReadTx,
    _sending: Sending,
    header: TransferHeader,
    checksum: Checksum,
    totals: Totals,
    next: Next,
}

/// Counted as long as it lives.
#[derive(Debug)]
struct Sending(Arc<AtomicUsize>);

impl Sending {
    fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(count))
    }
}

impl Drop for Sending {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What is to be sent next.
enum Next {
    Begin,
    /// The rows after a key of the first of these tables.
    Rows(VecDeque<Table>, Option<Vec<u8>>),
    Nothing,
}

impl SnapshotSender {
    /// Begins to send what `view` shows, and is counted in `sending`.
    pub(crate) fn new(
        view: ReadTx,
        expected_bytes: u64,
        sending: &Arc<AtomicUsize>,
    ) -> Result<Self, SnapshotError> {
        let applied = Applied::read(&view)?;
        if applied.index == 0 {
            return Err(SnapshotError::NothingApplied);
        }
        Ok(Self {
            view,
            _sending: Sending::new(sending),
            header: TransferHeader {
                applied,
                expected_bytes,
            },
            checksum: Checksum::default(),
            totals: Totals::default(),
            next: Next::Begin,
        })
    }

    /// What is sent stands for this.
    #[must_use]
    pub const fn applied(&self) -> Applied {
        self.header.applied
    }

    /// About how many bytes there are to send in all.
    #[must_use]
    pub const fn expected_bytes(&self) -> u64 {
        self.header.expected_bytes
    }

    /// The state that is sent, for what must go along with it, such as the members of its moment.
    #[must_use]
    pub const fn view(&self) -> &ReadTx {
        &self.view
    }

    /// The next chunk, of about [`CHUNK_BYTES`] or one row; `None` after the last.
    ///
    /// # Errors
    ///
    /// If the engine cannot be read; the sending is then over.
    pub fn next_chunk(&mut self) -> Result<Option<Bytes>, ReadError> {
        let chunk = match std::mem::replace(&mut self.next, Next::Nothing) {
            Next::Nothing => return Ok(None),
            Next::Begin => {
                self.next = Next::Rows(Table::ALL.into(), None);
                self.checksum.begin(&self.header)
            }
            Next::Rows(tables, after) => match self.rows(tables, after)? {
                Some(rows) => self.checksum.rows(rows),
                None => self.checksum.end(self.totals),
            },
        };
        Ok(Some(chunk.into()))
    }

    /// The next rows, if any are left.
    fn rows(
        &mut self,
        mut tables: VecDeque<Table>,
        mut after: Option<Vec<u8>>,
    ) -> Result<Option<RowsWriter>, ReadError> {
        while let Some(&table) = tables.front() {
            let mut chunk: Option<RowsWriter> = None;
            let mut last = Vec::new();
            let start = after.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
            self.view
                .scan(table, (start, Bound::Unbounded), &mut |key, value| {
                    let row_bytes = ROW_OVERHEAD_BYTES + key.len() + value.len();
                    if let Some(chunk) = &chunk
                        && chunk.len() + row_bytes > CHUNK_BYTES
                    {
                        return ControlFlow::Break(());
                    }
                    self.totals.add(key, value);
                    chunk
                        .get_or_insert_with(|| RowsWriter::new(table, row_bytes.max(CHUNK_BYTES)))
                        .push(key, value);
                    last.clear();
                    last.extend_from_slice(key);
                    ControlFlow::Continue(())
                })?;
            if chunk.is_some() {
                self.next = Next::Rows(tables, Some(last));
                return Ok(chunk);
            }
            tables.pop_front();
            after = None;
        }
        Ok(None)
    }
}

impl std::fmt::Debug for SnapshotSender {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SnapshotSender")
            .field("header", &self.header)
            .field("totals", &self.totals)
            .finish_non_exhaustive()
    }
}
