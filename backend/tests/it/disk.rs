//! What LMDB's file and directory are like.

use bytes::Bytes;
use cairn_backend::{LmdbEngine, LmdbOptions, OpenError, Table};

use crate::engines::{Disk, LmdbDisk, entries, revision_key};

#[test]
fn a_directory_is_used_by_one_engine_at_a_time() {
    let disk = LmdbDisk::new();
    let backend = disk.open();
    let view = backend.read().unwrap();
    let open = || LmdbEngine::open(disk.path(), LmdbOptions::default());
    assert!(matches!(open(), Err(OpenError::InUse { .. })));
    drop(backend);
    assert!(
        matches!(open(), Err(OpenError::InUse { .. })),
        "the view still reads"
    );
    drop(view);
    open().unwrap();
}

#[test]
fn the_directory_holds_one_file_and_leftovers_are_removed() {
    let disk = LmdbDisk::new();
    std::fs::write(disk.path().join("db.defragment-7"), b"half").unwrap();
    let backend = disk.open();
    backend.defragment().unwrap();
    let names: Vec<_> = std::fs::read_dir(disk.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(names, ["db"]);
}

#[test]
fn the_map_grows_with_the_database() {
    let disk = LmdbDisk::small();
    let backend = disk.open();
    let value = Bytes::from(vec![7; 4096]);
    for main in 0..1000 {
        let mut batch = backend.write();
        batch.put(Table::Key, &revision_key(main), value.clone());
        batch.end().unwrap();
        if main % 100 == 0 {
            backend.commit().unwrap();
        }
    }
    backend.commit().unwrap();
    assert!(backend.size() > 4_000_000);
    drop(backend);
    let backend = disk.open();
    assert_eq!(entries(&backend.read().unwrap(), Table::Key).len(), 1000);
}

#[test]
fn growth_waits_for_open_views_and_new_views_do_not_wait_for_ever() {
    let disk = LmdbDisk::small();
    let backend = disk.open();
    let held = backend.read().unwrap();
    let value = Bytes::from(vec![7; 1024 * 1024]);
    let mut batch = backend.write();
    batch.put(Table::Key, &revision_key(1), value);
    batch.end().unwrap();
    std::thread::scope(|scope| {
        let commit = scope.spawn(|| backend.commit());
        while !commit.is_finished() {
            // The first view holds growth up, and yet a second can be had.
            let second = backend.read().unwrap();
            assert!(second.get(Table::Key, &revision_key(1)).unwrap().is_some());
            drop(second);
            if backend.poisoned().is_none() {
                break;
            }
        }
        assert_eq!(entries(&held, Table::Key).len(), 0);
        drop(held);
        commit.join().unwrap().unwrap();
    });
    assert!(backend.size() > 1024 * 1024);
}

#[test]
fn a_file_that_is_cut_short_is_refused() {
    let disk = LmdbDisk::new();
    let backend = disk.open();
    for main in 0..100 {
        backend
            .write()
            .put(Table::Key, &revision_key(main), Bytes::from(vec![7; 4096]));
    }
    backend.commit().unwrap();
    drop(backend);
    let file = std::fs::File::options()
        .write(true)
        .open(disk.path().join("db"))
        .unwrap();
    file.set_len(64 * 1024).unwrap();
    let opened = LmdbEngine::open(disk.path(), LmdbOptions::default());
    assert!(
        matches!(
            opened,
            Err(OpenError::Truncated {
                size_bytes: 65536,
                ..
            })
        ),
        "{opened:?}"
    );
}

#[test]
fn a_file_that_is_no_database_is_refused() {
    let disk = LmdbDisk::new();
    std::fs::write(disk.path().join("db"), vec![0xa5; 64 * 1024]).unwrap();
    let opened = LmdbEngine::open(disk.path(), LmdbOptions::default());
    assert!(matches!(opened, Err(OpenError::Lmdb { .. })), "{opened:?}");
}

#[test]
fn values_longer_than_pages_and_the_longest_key_come_back_whole() {
    let disk = LmdbDisk::new();
    let backend = disk.open();
    let key = [b'k'; cairn_backend::KEY_BYTES_MAX];
    let value = Bytes::from(vec![7; 3 * 1024 * 1024 + 1]);
    backend.write().put(Table::AuthUsers, &key, value.clone());
    backend.commit().unwrap();
    drop(backend);
    let backend = disk.open();
    assert_eq!(
        backend.read().unwrap().get(Table::AuthUsers, &key).unwrap(),
        Some(value)
    );
}

#[test]
fn the_size_in_use_shrinks_when_data_go_and_the_file_does_not() {
    let disk = LmdbDisk::new();
    let backend = disk.open();
    let mut batch = backend.write();
    for main in 0..1000 {
        batch.put(Table::Key, &revision_key(main), Bytes::from(vec![7; 1024]));
    }
    batch.end().unwrap();
    backend.commit().unwrap();
    let (full, full_in_use) = (backend.size(), backend.size_in_use());
    assert!(full_in_use > 1_000_000 && full_in_use <= full);
    let mut batch = backend.write();
    for main in 0..900 {
        batch.delete(Table::Key, &revision_key(main));
    }
    batch.end().unwrap();
    backend.commit().unwrap();
    assert!(
        backend.size_in_use() < full_in_use / 5,
        "{}",
        backend.size_in_use()
    );
    assert!(backend.size() >= full);
}

#[test]
fn a_scan_of_more_than_it_may_hold_reads_the_same_each_time() {
    let disk = LmdbDisk::new();
    let backend = disk.open();
    for main in 0..90 {
        let value = vec![u8::try_from(main).unwrap(); 1024 * 1024];
        backend
            .write()
            .put(Table::Key, &revision_key(main), Bytes::from(value));
    }
    let buffered = backend.hash().unwrap();
    backend.commit().unwrap();
    assert_eq!(backend.hash().unwrap(), buffered);
    assert_eq!(backend.hash().unwrap(), buffered);
}
