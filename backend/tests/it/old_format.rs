//! Databases from before rows had checksums.

use bytes::Bytes;
use cairn_backend::{STATE_CHECKSUM_KEY, Table, check};
use heed::types;

use crate::engines::{Disk as _, LmdbDisk};

/// A database as it was made before: tables, and rows as they are.
fn old_database(disk: &LmdbDisk) {
    let path = disk.path().join("db");
    let mut options = heed::EnvOpenOptions::new();
    options.max_dbs(32).map_size(1 << 20);
    #[expect(unsafe_code, reason = "LMDB trusts the file and its other users")]
    // SAFETY: nobody else uses the file, and the flag changes only its name.
    let env = unsafe {
        options.flags(heed::EnvFlags::NO_SUB_DIR);
        options.open(&path).unwrap()
    };
    env.create_databases_and_commit(env.write_txn().unwrap(), |opener, txn| {
        for table in Table::ALL {
            let made =
                opener.create_database::<types::Bytes, types::Bytes>(txn, Some(table.name()))?;
            made.put(txn, b"key", b"as it is")?;
        }
        Ok::<_, heed::Error>(heed::CommitOrAbort::<_, ()>::Commit(()))
    })
    .unwrap();
    drop(env);
    std::fs::remove_file(disk.path().join("db-lock")).unwrap();
}

#[test]
fn an_old_database_is_read_and_written_as_it_is_until_it_knows_its_state_and_is_defragmented() {
    let disk = LmdbDisk::new();
    old_database(&disk);
    let path = disk.path().join("db");
    let backend = disk.open();
    let mut batch = backend.write();
    batch.put(Table::Lease, b"new", Bytes::from_static(b"row"));
    batch.end().unwrap();
    backend.commit().unwrap();

    backend.defragment().unwrap();
    drop(backend);
    let backend = disk.open();
    let is_before = || backend.read().unwrap().is_before_checksums();
    assert!(
        is_before(),
        "a start takes it for a file that has lost the checksum of its state"
    );

    let mut batch = backend.write();
    batch.put(Table::Meta, STATE_CHECKSUM_KEY, Bytes::from_static(b"sum"));
    batch.end().unwrap();
    backend.commit().unwrap();
    assert!(is_before());
    let hash = backend.hash().unwrap();
    let report = check(&path).unwrap();
    assert!(
        !report.has_checksums && report.damage.is_empty(),
        "{report:?}"
    );

    backend.defragment().unwrap();
    assert!(!is_before());
    assert_eq!(backend.hash().unwrap(), hash);
    let report = check(&path).unwrap();
    assert!(
        report.has_checksums && report.damage.is_empty(),
        "{report:?}"
    );
    assert_eq!(report.rows, 12);
    drop(backend);
    let backend = disk.open();
    let view = backend.read().unwrap();
    for table in Table::ALL {
        assert_eq!(
            view.get(table, b"key").unwrap().as_deref(),
            Some(&b"as it is"[..])
        );
    }
    assert_eq!(
        view.get(Table::Lease, b"new").unwrap().as_deref(),
        Some(&b"row"[..])
    );
}
