//! An engine in memory whose rows rot: they are told as a disk's are.

use bytes::Bytes;
use cairn_backend::{Backend, MemoryEngine, ReadError, Table};

use crate::engines::{Disk, entries};

/// What one bit of a row of four bytes, and of the four of its checksum, may be.
const BITS: u64 = 64;

fn put(backend: &Backend, value: &'static [u8]) {
    let mut batch = backend.write();
    batch.put(Table::Key, b"key", Bytes::from_static(value));
    batch.end().unwrap();
    backend.commit().unwrap();
}

#[test]
fn a_rotten_row_is_refused_until_it_is_written_anew_or_mended() {
    for bit in 0..BITS {
        let disk = MemoryEngine::new();
        put(&disk.open(), b"good");
        disk.rot(0, bit);
        let rotten = disk.open();
        let view = rotten.read().unwrap();
        let read = view.get(Table::Key, b"key");
        assert!(matches!(read, Err(ReadError::Damaged(_))), "{read:?}");
        assert!(disk.has_found_damage());
        put(&rotten, b"anew");
        let anew = entries(&disk.open().read().unwrap(), Table::Key);
        assert_eq!(anew, [(b"key".to_vec(), b"anew".to_vec())]);
        disk.rot(0, bit);
        disk.mend();
        let mended = entries(&disk.open().read().unwrap(), Table::Key);
        assert_eq!(mended, anew);
        assert!(!disk.has_found_damage());
    }
}

#[test]
fn who_skips_the_checks_reads_what_lies_there() {
    let disk = MemoryEngine::new();
    put(&disk.open(), b"good");
    disk.skip_row_checks();
    disk.rot(0, 1);
    let read = disk.open().read().unwrap().get(Table::Key, b"key").unwrap();
    assert_eq!(read.as_deref(), Some(&b"eood"[..]));
    assert!(!disk.has_found_damage());
}
