//! Where the values of changes are read: one, or many together.
//!
//! Rows come in key order and values lie in the order of their changes. So many are read in that
//! order, which turns a way down a tree for each into steps from one to the next, or at least keeps
//! to one part of the tree at a time, and are put back in key order. They are not copied for it.

use cairn_backend::{BatchTx, Found, ReadTx, StoredValue, Table};
use cairn_index::FullRevision;

use crate::bucket_key::BucketKey;
use crate::error::ReadError;
use crate::range_order::Row;

/// The value of the put at `at`, which a checksum is made of on the way.
pub(crate) fn open_put(stored: StoredValue<'_>, at: FullRevision) -> Result<&[u8], ReadError> {
    let opened = stored.open(Table::Key, BucketKey::put(at).as_bytes());
    Ok(opened.map_err(cairn_backend::ReadError::from)?)
}

/// A view of what changes wrote.
pub(crate) trait Values {
    /// What `f` makes of the value of one change.
    fn value<R>(&self, at: FullRevision, f: impl FnOnce(&[u8]) -> R) -> Result<R, ReadError>;

    /// The values at ascending keys.
    fn find_many<'v>(&'v self, keys: &[&[u8]], found: &mut Found<'_, 'v>) -> Result<(), ReadError>;

    /// The values of rows, in the order of the rows; each is to be opened by [`open_put`].
    fn of_rows(&self, rows: &[Row<'_>]) -> Result<Vec<StoredValue<'_>>, ReadError> {
        let changes = rows.iter().map(|row| row.version.modified);
        let mut places: Vec<(FullRevision, usize)> = changes.zip(0..).collect();
        places.sort_unstable();
        let keys: Vec<BucketKey> = places.iter().map(|(at, _)| BucketKey::put(*at)).collect();
        let keys: Vec<&[u8]> = keys.iter().map(BucketKey::as_bytes).collect();
        let mut values = vec![None; rows.len()];
        self.find_many(&keys, &mut |nth, value| {
            let slot = places.get(nth).and_then(|(_, row)| values.get_mut(*row));
            if let Some(slot) = slot {
                *slot = Some(value);
            }
        })?;
        let values = values.into_iter().zip(rows);
        values
            .map(|(value, row)| value.ok_or(ReadError::Missing(row.version.modified)))
            .collect()
    }
}

impl Values for ReadTx {
    fn value<R>(&self, at: FullRevision, f: impl FnOnce(&[u8]) -> R) -> Result<R, ReadError> {
        let key = BucketKey::put(at);
        self.get_with(Table::Key, key.as_bytes(), f)?
            .ok_or(ReadError::Missing(at))
    }

    fn find_many<'v>(&'v self, keys: &[&[u8]], found: &mut Found<'_, 'v>) -> Result<(), ReadError> {
        Ok(self.get_many(Table::Key, keys, found)?)
    }
}

impl Values for BatchTx<'_> {
    fn value<R>(&self, at: FullRevision, f: impl FnOnce(&[u8]) -> R) -> Result<R, ReadError> {
        let key = BucketKey::put(at);
        let value = self.get(Table::Key, key.as_bytes())?;
        value.map(|value| f(&value)).ok_or(ReadError::Missing(at))
    }

    fn find_many<'v>(&'v self, keys: &[&[u8]], found: &mut Found<'_, 'v>) -> Result<(), ReadError> {
        Ok(self.get_many(Table::Key, keys, found)?)
    }
}
