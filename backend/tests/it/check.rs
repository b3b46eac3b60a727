//! Damage in the database file: found by a read or a check, or without consequence; never silent.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use cairn_backend::{
    Backend, BackendOptions, CheckError, DamageHook, LmdbEngine, LmdbOptions, OpenError, ReadError,
    Table, check,
};
use proptest::prelude::*;

use crate::engines::{Disk as _, LmdbDisk, revision_key};

const ROWS: u64 = 3000;

/// A database with rows of many lengths, of which some were deleted.
fn filled() -> LmdbDisk {
    let disk = LmdbDisk::new();
    let backend = disk.open();
    for main in 0..ROWS {
        let mut batch = backend.write();
        let bytes = usize::try_from(main % 97 * (main % 53)).unwrap();
        let value = Bytes::from(vec![u8::try_from(main % 251).unwrap(); bytes]);
        batch.put(Table::Key, &revision_key(main), value);
        batch.put(
            Table::Lease,
            &(main % 50).to_be_bytes(),
            Bytes::from_static(b"lease"),
        );
        if main % 10 == 9 {
            batch.delete(Table::Key, &revision_key(main - 5));
        }
        batch.end().unwrap();
        if main % 500 == 0 {
            backend.commit().unwrap();
        }
    }
    backend.commit().unwrap();
    drop(backend);
    disk
}

fn overwrite(path: &Path, offset: u64, bytes: &[u8]) {
    let file = OpenOptions::new().write(true).open(path).unwrap();
    file.write_all_at(bytes, offset).unwrap();
}

#[test]
fn a_whole_database_is_found_whole_with_all_its_rows() {
    let disk = filled();
    let report = check(&disk.path().join("db")).unwrap();
    assert!(report.damage.is_empty(), "{:?}", report.damage);
    assert_eq!(report.rows, ROWS - ROWS / 10 + 50);
    assert!(report.has_checksums);
    let used = disk.open().size_in_use();
    assert!(
        report.pages * 4096 >= used,
        "{} pages, {used} bytes",
        report.pages
    );

    let empty = disk.path().join("empty");
    std::fs::write(&empty, [0; 16384]).unwrap();
    assert!(matches!(check(&empty), Err(CheckError::NoDatabase { .. })));
    std::fs::write(&empty, "short").unwrap();
    assert!(matches!(check(&empty), Err(CheckError::Io { .. })));
}

#[test]
fn a_damaged_row_is_an_error_with_table_and_key_and_the_hook_is_told() {
    let disk = LmdbDisk::new();
    let backend = disk.open();
    let mut batch = backend.write();
    batch.put(
        Table::Members,
        b"00000000000000a1",
        Bytes::from_static(b"{\"id\":161}"),
    );
    batch.put(
        Table::Members,
        b"00000000000000a2",
        Bytes::from_static(b"{\"id\":162}"),
    );
    batch.end().unwrap();
    backend.commit().unwrap();
    drop(backend);
    let path = disk.path().join("db");
    let bytes = std::fs::read(&path).unwrap();
    let places = bytes.windows(10).enumerate();
    let places: Vec<_> = places.filter(|(_, it)| it == b"{\"id\":162}").collect();
    assert!(!places.is_empty());
    for (offset, _) in places {
        overwrite(&path, offset as u64, b"{\"id\":999}");
    }
    let told = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&told);
    let options = LmdbOptions {
        on_damage: Some(DamageHook::new(move |_| {
            counted.fetch_add(1, Ordering::Relaxed);
        })),
        ..LmdbOptions::default()
    };
    let engine = LmdbEngine::open(disk.path(), options).unwrap();
    let backend = Backend::open(engine, BackendOptions::default()).unwrap();
    let view = backend.read().unwrap();
    assert!(
        view.get(Table::Members, b"00000000000000a1")
            .unwrap()
            .is_some()
    );
    let error = view.get(Table::Members, b"00000000000000a2").unwrap_err();
    assert!(matches!(error, ReadError::Damaged(_)));
    let text = error.to_string();
    for part in [
        path.to_str().unwrap(),
        "table members",
        "00000000000000a2",
        "add it again",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    backend.hash().unwrap_err();
    backend.defragment().unwrap_err();
    assert!(told.load(Ordering::Relaxed) >= 3);
    let report = check(&path).unwrap();
    assert_eq!(report.damage.len(), 1, "{:?}", report.damage);
}

#[test]
fn any_damage_is_found_or_changes_nothing() {
    let disk = filled();
    let path = disk.path().join("db");
    let whole = std::fs::read(&path).unwrap();
    let hash = disk.open().hash().unwrap();
    let other = LmdbDisk::new();
    let copy = other.path().join("db");
    let mut found = 0;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    for _ in 0..200 {
        let strategy = (2 * 4096..whole.len() - 512, 1..512_usize, any::<u8>());
        let tree = strategy.new_tree(&mut runner).unwrap();
        let (at, length, fill) = proptest::strategy::ValueTree::current(&tree);
        let mut bytes = whole.clone();
        for (number, byte) in bytes.iter_mut().skip(at).take(length).enumerate() {
            *byte ^= fill.wrapping_add(u8::try_from(number % 256).unwrap());
        }
        std::fs::write(&copy, &bytes).unwrap();
        if check(&copy).unwrap().damage.is_empty() {
            let unchanged = other.open().hash().unwrap();
            assert_eq!(unchanged, hash, "{length} bytes at {at}");
        } else {
            found += 1;
        }
    }
    assert!(found > 100, "{found} of 200");
}

/// LMDB follows a damaged page to wherever it leads, as far as out of the file.
#[test]
fn a_damaged_branch_page_refuses_to_open_and_says_which_page_it_is() {
    const BRANCH: u8 = 1;
    const PAGE_BYTES: usize = 4096;

    let disk = filled();
    let path = disk.path().join("db");
    let whole = std::fs::read(&path).unwrap();
    let hash = disk.open().hash().unwrap();
    let pages = whole.chunks(PAGE_BYTES).enumerate();
    let branches = pages.filter(|(number, page)| {
        page[..8] == (*number as u64).to_le_bytes() && page[10..12] == [BRANCH, 0]
    });
    let mut refused = 0;
    for (number, _) in branches {
        // The number of a page below, the end of the list of entries, all but the head.
        for (from, length) in [(PAGE_BYTES - 6, 4), (12, 4), (16, PAGE_BYTES - 16)] {
            let at = number * PAGE_BYTES + from;
            let noise: Vec<u8> = whole[at..at + length]
                .iter()
                .map(|byte| byte ^ 0x5a)
                .collect();
            overwrite(&path, at as u64, &noise);
            match LmdbEngine::open(disk.path(), LmdbOptions::default()) {
                Err(OpenError::DamagedPage { .. }) => refused += 1,
                // Nobody's page.
                Ok(engine) => {
                    let backend = Backend::open(engine, BackendOptions::default()).unwrap();
                    assert_eq!(backend.hash().unwrap(), hash, "page {number}");
                }
                Err(OpenError::InUse { .. }) => {}
                Err(other) => panic!("{other}"),
            }
            overwrite(&path, at as u64, &whole[at..at + length]);
        }
    }
    assert!(refused >= 6, "{refused}");
    assert_eq!(disk.open().hash().unwrap(), hash);
}
