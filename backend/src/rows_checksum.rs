//! The checksum of a set of rows, in any order, kept up to date row by row.

use crate::damaged_row::DamagedRow;
use crate::table::Table;

/// How many rows there are, and a sum over all of them.
///
/// A row that is missing, added or changed in one place always makes another one of it; two changes
/// that cancel each other out are as likely as a collision of CRC32C. It guards against damage, not
/// against people.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RowsChecksum {
    rows: u64,
    sum: u64,
}

impl RowsChecksum {
    /// The checksum of these rows.
    pub fn of<K: AsRef<[u8]>, V: AsRef<[u8]>>(rows: impl IntoIterator<Item = (K, V)>) -> Self {
        let mut checksum = Self::default();
        for (key, value) in rows {
            checksum.add(key.as_ref(), value.as_ref());
        }
        checksum
    }

    /// Adds a row.
    pub fn add(&mut self, key: &[u8], value: &[u8]) {
        self.rows = self.rows.wrapping_add(1);
        self.sum = self.sum.wrapping_add(row_hash(key, value));
    }

    /// Takes away a row that was added.
    pub fn remove(&mut self, key: &[u8], value: &[u8]) {
        self.rows = self.rows.wrapping_sub(1);
        self.sum = self.sum.wrapping_sub(row_hash(key, value));
    }

    /// How many rows there are.
    #[must_use]
    pub const fn rows(self) -> u64 {
        self.rows
    }

    /// The two numbers that are stored of it.
    #[must_use]
    pub const fn to_parts(self) -> [u64; 2] {
        [self.rows, self.sum]
    }

    /// Reads what [`Self::to_parts`] made.
    #[must_use]
    pub const fn from_parts([rows, sum]: [u64; 2]) -> Self {
        Self { rows, sum }
    }

    /// Checks the rows of `table`, of which `self` was stored.
    ///
    /// # Errors
    ///
    /// [`DamagedRow`] if `found`, of the rows that are there, is another one.
    pub fn check(self, table: Table, found: Self) -> Result<(), DamagedRow> {
        if self == found {
            return Ok(());
        }
        let (stored, there) = (self.rows, found.rows);
        let reason = if stored == there {
            "its rows are not those that were stored".to_owned()
        } else {
            format!("{stored} rows were stored and {there} are there")
        };
        Err(DamagedRow::new(table, &[], reason))
    }
}

/// The CRC32C of a row, spread over 64 bits so that sums of rows do not cancel each other out.
fn row_hash(key: &[u8], value: &[u8]) -> u64 {
    let length = u32::try_from(key.len()).unwrap_or(u32::MAX).to_le_bytes();
    let crc = crc32c::crc32c_append(crc32c::crc32c(&length), key);
    let crc = crc32c::crc32c_append(crc, value);
    // Steele, Lea and Flood's finalizer of SplitMix64, which is a bijection.
    let mut hash = (u64::from(crc) + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROWS: [(&str, &str); 3] = [("a", "1"), ("ab", ""), ("b", "22")];

    #[test]
    fn the_order_in_which_rows_are_added_and_removed_does_not_matter() {
        let forward = RowsChecksum::of(ROWS);
        let mut backward = RowsChecksum::of(ROWS.into_iter().rev());
        assert_eq!(forward, backward);
        backward.add(b"c", b"3");
        assert_ne!(forward, backward);
        backward.remove(b"c", b"3");
        assert_eq!(forward, backward);
        assert_eq!(RowsChecksum::from_parts(forward.to_parts()), forward);
        assert_eq!(forward.rows(), 3);
    }

    #[test]
    fn every_changed_missing_swapped_or_shifted_row_is_noticed() {
        let good = RowsChecksum::of(ROWS);
        for (place, (key, value)) in ROWS.into_iter().enumerate() {
            let mut without = ROWS.to_vec();
            without.remove(place);
            assert_ne!(RowsChecksum::of(without.clone()), good);
            let whole = [key.as_bytes(), value.as_bytes()].concat();
            for bit in 0..whole.len() * 8 {
                let mut bytes = whole.clone();
                bytes[bit / 8] ^= 1 << (bit % 8);
                let (key, value) = bytes.split_at(key.len());
                let mut damaged = RowsChecksum::of(without.clone());
                damaged.add(key, value);
                assert_ne!(damaged, good);
            }
        }
        assert_ne!(
            RowsChecksum::of([("a", "b")]),
            RowsChecksum::of([("ab", "")])
        );
        assert_ne!(
            RowsChecksum::of([("a", "22"), ("ab", ""), ("b", "1")]),
            good
        );
    }

    #[test]
    fn what_is_wrong_is_told_with_the_table_and_the_numbers_of_rows() {
        let stored = RowsChecksum::of(ROWS);
        let fewer = stored.check(Table::Members, RowsChecksum::of([("a", "1")]));
        let text = fewer.unwrap_err().to_string();
        assert!(
            text.contains("table members, key (all): 3 rows were stored and 1 are there"),
            "{text}"
        );
        assert_eq!(stored.check(Table::Members, stored), Ok(()));
    }
}
