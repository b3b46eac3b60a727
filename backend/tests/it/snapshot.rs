//! Copies of the database, taken while writes go on, and opened again.

use std::io::Read;

use bytes::Bytes;
use cairn_backend::{OpenError, SnapshotFile, Table};

use crate::engines::{ALL, Disk, LmdbDisk, entries, on_each_engine, revision_key};

#[test]
fn a_snapshot_is_as_long_as_it_says_and_outlives_later_writes() {
    on_each_engine(|disk| {
        let backend = disk.open();
        backend
            .write()
            .put(Table::Key, &revision_key(1), Bytes::from_static(b"value"));
        let mut copy = backend.snapshot().unwrap();
        backend.write().delete(Table::Key, &revision_key(1));
        backend.commit().unwrap();
        let mut bytes = Vec::new();
        copy.read_to_end(&mut bytes).unwrap();
        assert_eq!(bytes.len() as u64, copy.total_bytes());
        assert!(bytes.windows(5).any(|window| window == b"value"));
    });
}

#[test]
fn a_snapshot_file_has_the_hash_of_its_moment_and_serves_as_a_database() {
    let disk = LmdbDisk::new();
    let backend = disk.open();
    for main in 0..1000 {
        backend
            .write()
            .put(Table::Key, &revision_key(main), Bytes::from(vec![7; 300]));
    }
    let hash = backend.hash().unwrap();
    let mut bytes = Vec::new();
    backend.snapshot().unwrap().read_to_end(&mut bytes).unwrap();
    backend.write().delete(Table::Key, &revision_key(1));

    let restored = LmdbDisk::new();
    let file = restored.path().join("db");
    std::fs::write(&file, &bytes).unwrap();
    let copy = SnapshotFile::open(&file).unwrap();
    assert_eq!(copy.hash().unwrap(), hash);
    let mut found = 0;
    copy.scan(Table::Key, ALL, &mut |_, _| {
        found += 1;
        std::ops::ControlFlow::Continue(())
    })
    .unwrap();
    assert_eq!(found, 1000);
    drop(copy);

    let backend = restored.open();
    assert_eq!(backend.hash().unwrap(), hash);
    backend
        .write()
        .put(Table::Key, &revision_key(1000), Bytes::from_static(b"more"));
    backend.commit().unwrap();
    assert_eq!(entries(&backend.read().unwrap(), Table::Key).len(), 1001);
}

#[test]
fn a_snapshot_file_that_is_cut_short_is_refused() {
    let disk = LmdbDisk::new();
    let backend = disk.open();
    for main in 0..100 {
        backend
            .write()
            .put(Table::Key, &revision_key(main), Bytes::from(vec![7; 4096]));
    }
    let mut bytes = Vec::new();
    backend.snapshot().unwrap().read_to_end(&mut bytes).unwrap();
    bytes.truncate(bytes.len() / 2);
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("copy");
    std::fs::write(&file, &bytes).unwrap();
    assert!(matches!(
        SnapshotFile::open(&file),
        Err(OpenError::Truncated { .. })
    ));
}
