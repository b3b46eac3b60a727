//! What a defragmentation gives back, and that it changes nothing else.

use bytes::Bytes;
use cairn_backend::{Backend, Table};

use crate::engines::{Disk, LmdbDisk, entries, revision_key};

fn fill(backend: &Backend, revisions: std::ops::Range<u64>) {
    let mut batch = backend.write();
    for main in revisions {
        batch.put(Table::Key, &revision_key(main), Bytes::from(vec![7; 300]));
    }
    batch.end().unwrap();
    backend.commit().unwrap();
}

#[test]
fn pages_that_are_half_empty_are_packed() {
    let disk = LmdbDisk::new();
    let backend = disk.open();
    fill(&backend, 0..20_000);
    let mut batch = backend.write();
    for main in (0..20_000).step_by(2) {
        batch.delete(Table::Key, &revision_key(main));
    }
    batch.put(Table::Lease, b"lease", Bytes::from_static(b"1"));
    batch.end().unwrap();
    backend.commit().unwrap();
    let (hash, size) = (backend.hash().unwrap(), backend.size());
    backend.defragment().unwrap();
    assert_eq!(backend.hash().unwrap(), hash);
    assert!(
        backend.size() < size * 6 / 10,
        "{} of {size}",
        backend.size()
    );
    drop(backend);
    assert_eq!(disk.open().hash().unwrap(), hash);
}

#[test]
fn writes_after_a_defragmentation_are_kept() {
    let disk = LmdbDisk::new();
    let backend = disk.open();
    fill(&backend, 0..10);
    backend.defragment().unwrap();
    fill(&backend, 10..20);
    backend.defragment().unwrap();
    fill(&backend, 20..30);
    drop(backend);
    assert_eq!(entries(&disk.open().read().unwrap(), Table::Key).len(), 30);
}

#[test]
fn what_is_buffered_stays_buffered() {
    let disk = LmdbDisk::new();
    let backend = disk.open();
    backend
        .write()
        .put(Table::Key, &revision_key(1), Bytes::from_static(b"1"));
    backend.defragment().unwrap();
    assert_eq!(entries(&backend.read().unwrap(), Table::Key).len(), 1);
    drop(backend);
    assert_eq!(entries(&disk.open().read().unwrap(), Table::Key).len(), 0);
}

#[test]
fn a_defragmentation_that_cannot_write_changes_nothing() {
    let disk = LmdbDisk::new();
    let backend = disk.open();
    fill(&backend, 0..10);
    // The name that it will take is taken by something that is no file.
    std::fs::create_dir(disk.path().join("db.defragment-0")).unwrap();
    backend.defragment().unwrap_err();
    assert!(backend.poisoned().is_none());
    fill(&backend, 10..20);
    backend.defragment().unwrap();
    assert_eq!(entries(&backend.read().unwrap(), Table::Key).len(), 20);
}

#[test]
fn a_small_map_grows_while_defragmenting() {
    let disk = LmdbDisk::small();
    let backend = disk.open();
    fill(&backend, 0..10_000);
    let hash = backend.hash().unwrap();
    backend.defragment().unwrap();
    assert_eq!(backend.hash().unwrap(), hash);
}
