//! The checksum that each row has on disk: the engine puts it behind the value and takes it off.
//!
//! A CRC-32C, little-endian, over the table, the key and the value, so that a row is also known by its
//! place: LMDB checks nothing, and a damaged page may show the row of another key.

use std::path::Path;

use crate::crc;
use crate::damaged_row::DamagedRow;
use crate::table::Table;

/// What a checksum takes.
const CHECKSUM_BYTES: usize = 4;

/// The row's checksum.
fn checksum(table: Table, key: &[u8], value: &[u8]) -> u32 {
    crc::of_row(table.checksum_seed(), key, value)
}

/// Writes a value and its checksum into `stored`.
pub(crate) fn seal(table: Table, key: &[u8], value: &[u8], stored: &mut Vec<u8>) {
    stored.clear();
    stored.extend_from_slice(value);
    stored.extend_from_slice(&checksum(table, key, value).to_le_bytes());
}

/// The value of a row, if the checksum behind it is its own.
#[inline]
pub(crate) fn open<'a>(table: Table, key: &[u8], stored: &'a [u8]) -> Option<&'a [u8]> {
    let (value, found) = stored.split_last_chunk::<CHECKSUM_BYTES>()?;
    (checksum(table, key, value) == u32::from_le_bytes(*found)).then_some(value)
}

/// What is said of a row whose checksum is wrong.
#[cold]
pub(crate) fn damaged(path: &Path, table: Table, key: &[u8]) -> DamagedRow {
    let reason = format!("the checksum is wrong, in {}", path.display());
    DamagedRow::new(table, key, reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealed(table: Table, key: &[u8], value: &[u8]) -> Vec<u8> {
        let mut stored = vec![7];
        seal(table, key, value, &mut stored);
        stored
    }

    #[test]
    fn a_row_has_these_bytes() {
        let stored = sealed(Table::Key, b"k", b"value");
        assert_eq!(stored[..5], *b"value");
        let expected = crc32c::crc32c(b"key\0kvalue");
        assert_eq!(stored[5..], expected.to_le_bytes());
    }

    #[test]
    fn any_changed_bit_another_key_or_table_is_damage() {
        let stored = sealed(Table::Key, b"key", b"value");
        assert_eq!(open(Table::Key, b"key", &stored), Some(&b"value"[..]));
        assert_eq!(open(Table::Key, b"kez", &stored), None);
        assert_eq!(open(Table::Lease, b"key", &stored), None);
        assert_eq!(open(Table::Key, b"key", &stored[..3]), None);
        for bit in 0..stored.len() * 8 {
            let mut flipped = stored.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(open(Table::Key, b"key", &flipped), None, "bit {bit}");
        }
        let empty = sealed(Table::Alarm, b"a", b"");
        assert_eq!(open(Table::Alarm, b"a", &empty), Some(&b""[..]));
        assert_eq!(open(Table::Alarm, b"a", &[0; 4]), None, "zeros are no row");
    }
}
