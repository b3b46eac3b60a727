//! Dying inside LMDB is said.

use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::Command;

use bytes::Bytes;
use cairn_backend::{Table, tell_memory_signals};

use crate::engines::{Disk as _, LmdbDisk, revision_key};

const CHILD: &str = "CAIRN_DIES_IN_LMDB";

#[test]
fn a_process_that_dies_inside_lmdb_names_the_database() {
    if std::env::var_os(CHILD).is_some() {
        die();
    }
    let child = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "memory_signals::a_process_that_dies_inside_lmdb_names_the_database",
        ])
        .arg("--nocapture")
        .env(CHILD, "1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&child.stderr).into_owned();
    assert!(
        child.status.signal().is_some(),
        "{:?}: {said}",
        child.status
    );
    assert!(
        said.contains("cairn: SIG") && said.contains("/db is damaged"),
        "{said}"
    );
}

/// Cuts the file short under the map, and reads.
fn die() {
    let disk = LmdbDisk::new();
    let backend = disk.open();
    let path: PathBuf = disk.path().join("db");
    tell_memory_signals(&path).unwrap();
    for main in 0..100 {
        let mut batch = backend.write();
        batch.put(
            Table::Key,
            &revision_key(main),
            Bytes::from(vec![7; 10_000]),
        );
        batch.end().unwrap();
    }
    backend.commit().unwrap();
    let file = std::fs::File::options().write(true).open(&path).unwrap();
    file.set_len(2 * 4096).unwrap();
    let view = backend.read().unwrap();
    for main in 0..100 {
        let _ = view.get(Table::Key, &revision_key(main));
    }
}
