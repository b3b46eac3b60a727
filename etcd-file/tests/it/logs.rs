//! Logs and `.snap` files.

use std::fs;
use std::path::Path;

use bytes::Bytes;
use cairn_etcd_file::wal::{self, Log, LogFile, SnapshotPoint, WalDamage, WalError};
use cairn_etcd_file::{ConfState, Entry, HardState, Metadata, Snapshot, SnapshotMetadata, snap};
use tempfile::TempDir;

const OWNER: Metadata = Metadata {
    member: Some(0x8e9e_05c5_2164_694d),
    cluster: Some(0xcdf8_1819_4e3a_8c32),
};

fn entry(term: u64, index: u64, bytes: usize) -> Entry {
    Entry {
        kind: Some(0),
        term: Some(term),
        index: Some(index),
        data: Some(Bytes::from(vec![7; bytes])),
    }
}

/// A log with a snapshot of entry 2, and entries 3 to 5, of which 5 was written twice.
fn write_log(directory: &Path) -> usize {
    let mut log = LogFile::begin(Vec::new(), OWNER).unwrap();
    log.snapshot(SnapshotPoint {
        index: 2,
        term: 1,
        conf_state: Some(ConfState {
            voters: vec![1, 2],
            ..ConfState::default()
        }),
    })
    .unwrap();
    for (term, index, bytes) in [(1, 3, 0), (2, 4, 100), (2, 5, 9), (3, 5, 3000)] {
        log.entry(&entry(term, index, bytes)).unwrap();
    }
    log.hard_state(HardState {
        term: Some(3),
        vote: Some(1),
        commit: Some(4),
    })
    .unwrap();
    let mut file = log.finish();
    let end = file.len();
    file.resize(64 << 10, 0);
    fs::write(directory.join(wal::file_name(0, 0)), file).unwrap();
    end
}

#[test]
fn a_log_is_read_as_it_was_written() {
    let directory = TempDir::new().unwrap();
    write_log(directory.path());
    let log = Log::read(directory.path()).unwrap();
    assert_eq!(log.metadata(), OWNER);
    assert_eq!(log.extent(), Some((3, 5)));
    assert_eq!(log.hard_state().commit, Some(4));
    let points: Vec<u64> = log.snapshots().iter().map(|it| it.index).collect();
    assert_eq!(points, [0, 2]);
    assert_eq!(log.entry(4).unwrap(), Some(entry(2, 4, 100)));
    // The later one of two with the same index counts.
    assert_eq!(log.entry(5).unwrap(), Some(entry(3, 5, 3000)));
    assert_eq!(log.entry(2).unwrap(), None);
    assert_eq!(log.entry(6).unwrap(), None);
}

#[test]
fn a_torn_tail_ends_the_log() {
    let directory = TempDir::new().unwrap();
    let end = write_log(directory.path());
    let path = directory.path().join(wal::file_name(0, 0));
    let whole = fs::read(&path).unwrap();
    for cut in (end - 3000)..end {
        fs::write(&path, &whole[..cut]).unwrap();
        let log = Log::read(directory.path()).unwrap();
        assert!(matches!(log.extent(), Some((3, 4 | 5))), "cut at {cut}");
    }
}

#[test]
fn a_sector_that_never_reached_the_disk_is_a_torn_tail_and_a_changed_byte_is_not() {
    let directory = TempDir::new().unwrap();
    let end = write_log(directory.path());
    let path = directory.path().join(wal::file_name(0, 0));
    let whole = fs::read(&path).unwrap();
    let sector = (end - 1500) / 512 * 512;
    let mut torn = whole.clone();
    torn[sector..sector + 512].fill(0);
    fs::write(&path, &torn).unwrap();
    let log = Log::read(directory.path()).unwrap();
    assert_eq!(log.entry(5).unwrap(), Some(entry(2, 5, 9)));

    let mut rotten = whole;
    rotten[end - 1500] ^= 1;
    fs::write(&path, &rotten).unwrap();
    let error = Log::read(directory.path()).err().unwrap();
    let damage = matches!(
        error,
        WalError::Damaged {
            damage: WalDamage::Checksum { .. },
            ..
        }
    );
    assert!(damage, "{error}");
}

#[test]
fn every_changed_byte_of_a_log_is_noticed_or_changes_nothing() {
    let directory = TempDir::new().unwrap();
    let end = write_log(directory.path());
    let path = directory.path().join(wal::file_name(0, 0));
    let whole = fs::read(&path).unwrap();
    for at in (0..end).step_by(7) {
        let mut changed = whole.clone();
        changed[at] ^= 0x55;
        fs::write(&path, &changed).unwrap();
        let _ = Log::read(directory.path());
    }
}

#[test]
fn a_missing_file_of_a_log_is_named() {
    let directory = TempDir::new().unwrap();
    write_log(directory.path());
    let first = directory.path().join(wal::file_name(0, 0));
    fs::copy(&first, directory.path().join(wal::file_name(2, 9))).unwrap();
    let error = Log::read(directory.path()).err().unwrap();
    assert!(
        matches!(error, WalError::Gap { sequence: 1, .. }),
        "{error}"
    );
}

#[test]
fn a_snap_file_is_read_as_it_was_written() {
    let snapshot = Snapshot {
        data: Some(Bytes::from_static(b"{}")),
        metadata: Some(SnapshotMetadata {
            conf_state: Some(ConfState {
                voters: vec![1],
                auto_leave: Some(false),
                ..ConfState::default()
            }),
            index: Some(7),
            term: Some(2),
        }),
    };
    let directory = TempDir::new().unwrap();
    let path = directory.path().join(snap::file_name(2, 7));
    let file = snap::encode(&snapshot);
    fs::write(&path, &file).unwrap();
    fs::write(directory.path().join("db"), "").unwrap();
    assert_eq!(snap::list(directory.path()).unwrap(), [(2, 7)]);
    assert_eq!(snap::read(directory.path(), 2, 7).unwrap(), snapshot);
    for at in 0..file.len() {
        let mut changed = file.to_vec();
        changed[at] ^= 1;
        assert_ne!(snap::decode(changed.into()).ok(), Some(snapshot.clone()));
    }
}

/// Found by fuzzing: such an entry was taken, and could then not be read.
#[test]
fn an_entry_without_an_index_is_damage() {
    let directory = TempDir::new().unwrap();
    let mut log = LogFile::begin(Vec::new(), OWNER).unwrap();
    log.entry(&Entry::default()).unwrap();
    fs::write(directory.path().join(wal::file_name(0, 0)), log.finish()).unwrap();
    let error = Log::read(directory.path()).err().unwrap();
    assert!(error.to_string().contains("no index"), "{error}");
}
