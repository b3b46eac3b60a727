//! What the `meta` table remembers of compactions: how far one was begun, and how far finished.
//!
//! Names and values are etcd's: the value is a change's key with a sub revision of zero. The mark of
//! the beginning is stored no later than the first deletion, so a store that lost its last
//! revisions to a compaction still knows that they were written.

use cairn_backend::{BatchTx, DamagedRow, ReadTx, Table};

use crate::bucket_key::BucketKey;
use crate::compaction_point::CompactionPoint;
use crate::error::RestoreError;

/// Which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mark {
    /// A compaction was begun.
    Scheduled,
    /// It has deleted all that it had to delete.
    Finished,
}

impl Mark {
    const fn name(self) -> &'static [u8] {
        match self {
            Self::Scheduled => b"scheduledCompactRev",
            Self::Finished => b"finishedCompactRev",
        }
    }

    pub(crate) fn read(self, from: &ReadTx) -> Result<Option<CompactionPoint>, RestoreError> {
        let Some(bytes) = from.get(Table::Meta, self.name())? else {
            return Ok(None);
        };
        let number = BucketKey::decode_mark(&bytes).ok();
        let point = number.and_then(CompactionPoint::from_number);
        let damaged = || DamagedRow::new(Table::Meta, self.name(), "not the mark of a compaction");
        Ok(Some(point.ok_or_else(damaged)?))
    }

    pub(crate) fn write(self, point: CompactionPoint, to: &mut BatchTx<'_>) {
        let value = BucketKey::mark(point.number());
        to.put(Table::Meta, self.name(), value.as_bytes().to_vec().into());
    }
}
