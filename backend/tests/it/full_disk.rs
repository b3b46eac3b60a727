//! What a full disk does: nothing is lost and nothing is in doubt, so it is waited for.

use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use bytes::Bytes;
use cairn_backend::{
    Backend, BackendOptions, CommitError, DefragmentError, LmdbEngine, LmdbOptions, MemoryEngine,
    SpaceHook, Table, Uncommitted,
};
use tempfile::TempDir;

use crate::engines::Disk as _;

/// How long a busy machine may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// A file system of a few megabytes.
struct SmallDisk {
    directory: TempDir,
}

impl SmallDisk {
    /// One in memory; none where this user may not mount it, which is said.
    fn mount() -> Option<Self> {
        let directory = tempfile::tempdir().unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=4m", "tmpfs"])
            .arg(directory.path())
            .output();
        if mounted.is_ok_and(|it| it.status.success()) {
            return Some(Self { directory });
        }
        #[expect(clippy::print_stderr, reason = "who runs the test should know")]
        {
            eprintln!("skipped: no small file system can be mounted here");
        }
        None
    }

    fn open(&self, options: BackendOptions) -> Backend {
        self.open_mapped(options, LmdbOptions::default())
    }

    fn open_mapped(&self, options: BackendOptions, engine: LmdbOptions) -> Backend {
        let engine = LmdbEngine::open(self.directory.path(), engine).unwrap();
        Backend::open(engine, options).unwrap()
    }

    fn ballast(&self) -> PathBuf {
        self.directory.path().join("ballast")
    }

    /// Takes all the room there is.
    fn fill(&self) {
        let mut ballast = std::fs::File::create(self.ballast()).unwrap();
        while std::io::Write::write_all(&mut ballast, &[7; 4096]).is_ok() {}
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount")
            .arg("-l")
            .arg(self.directory.path())
            .status();
    }
}

/// A hook, and what it was told: whether there was too little space.
fn telling() -> (Receiver<bool>, SpaceHook) {
    let (sender, told) = mpsc::sync_channel(16);
    let hook = move |failure: Option<&CommitError>| sender.send(failure.is_some()).unwrap();
    (told, Arc::new(hook))
}

fn put(backend: &Backend, number: u32, bytes: usize) {
    let mut batch = backend.write();
    batch.put(Table::Lease, &number.to_be_bytes(), vec![7; bytes].into());
    batch.end().unwrap();
}

fn count(backend: &Backend) -> usize {
    let view = backend.read().unwrap();
    (0_u32..1000)
        .filter(|number| {
            view.get(Table::Lease, &number.to_be_bytes())
                .unwrap()
                .is_some()
        })
        .count()
}

#[test]
fn what_found_no_space_is_seen_and_written_with_what_came_later_when_there_is() {
    let disk = MemoryEngine::new();
    let (told, hook) = telling();
    let backend = disk.open_with(BackendOptions {
        on_space: Some(hook),
        ..BackendOptions::default()
    });
    disk.set_full(true);
    for number in 0..3 {
        put(&backend, number, 10);
        assert!(matches!(backend.commit(), Err(Uncommitted::NoSpace { .. })));
        assert!(backend.no_space().is_some());
    }
    assert_eq!(count(&backend), 3);
    assert!(backend.poisoned().is_none());
    disk.set_full(false);
    backend.commit().unwrap();
    assert!(backend.no_space().is_none());
    assert_eq!(
        told.try_iter().collect::<Vec<_>>(),
        [true, false],
        "once each"
    );
    drop(backend);
    assert_eq!(count(&disk.open()), 3);
}

#[test]
fn a_writer_that_goes_on_without_space_is_stopped_before_it_takes_all_memory() {
    let disk = MemoryEngine::new();
    let backend = disk.open_with(BackendOptions {
        batch_ops_max: 1,
        ..BackendOptions::default()
    });
    disk.set_full(true);
    let refused_at = (0..100_u32).find(|number| {
        let mut batch = backend.write();
        batch.put(Table::Lease, &number.to_be_bytes(), Bytes::new());
        batch.end().is_err()
    });
    assert!(refused_at.is_some_and(|at| at < 20), "{refused_at:?}");
    let cause = Arc::clone(&backend.poisoned().unwrap().cause);
    assert!(matches!(*cause, CommitError::NoSpace { .. }));
}

#[test]
fn a_full_file_system_is_told_by_path_and_waited_for() {
    let Some(disk) = SmallDisk::mount() else {
        return;
    };
    let (told, hook) = telling();
    let backend = disk.open(BackendOptions {
        on_space: Some(hook),
        ..BackendOptions::default()
    });
    let committer = backend.spawn_committer(Duration::from_millis(5)).unwrap();
    put(&backend, 0, 100_000);
    backend.commit().unwrap();
    disk.fill();
    put(&backend, 1, 300_000);
    // Nobody writes or commits any more.
    assert_eq!(told.recv_timeout(PATIENCE), Ok(true), "the committer tells");
    let cause = backend.no_space().unwrap();
    let path = disk.directory.path().join("db").display().to_string();
    assert!(cause.to_string().contains(&path), "{cause}");
    assert_eq!(count(&backend), 2, "reads go on");
    let defragmented = backend.defragment().unwrap_err();
    assert!(
        !matches!(
            defragmented,
            DefragmentError::Poisoned(_) | DefragmentError::Swap(_)
        ),
        "{defragmented}"
    );
    assert!(backend.poisoned().is_none());

    std::fs::remove_file(disk.ballast()).unwrap();
    backend.commit().unwrap();
    assert_eq!(told.recv_timeout(PATIENCE), Ok(false));
    backend.defragment().unwrap();
    drop((committer, backend));
    let backend = disk.open(BackendOptions::default());
    assert_eq!(count(&backend), 2);
}

/// A larger map takes addresses, and no room of the disk.
#[test]
fn a_map_that_must_grow_on_a_full_file_system_grows_and_the_batch_waits_for_room() {
    let Some(disk) = SmallDisk::mount() else {
        return;
    };
    let small = || LmdbOptions {
        map_bytes: 64 * 1024,
        ..LmdbOptions::default()
    };
    let backend = disk.open_mapped(BackendOptions::default(), small());
    put(&backend, 0, 1000);
    backend.commit().unwrap();
    disk.fill();
    for number in 1..4 {
        put(&backend, number, 300_000);
        let refused = backend.commit();
        assert!(
            matches!(refused, Err(Uncommitted::NoSpace { .. })),
            "{refused:?}"
        );
        assert_eq!(count(&backend), 1 + number as usize, "reads go on");
    }
    assert!(backend.poisoned().is_none());
    std::fs::remove_file(disk.ballast()).unwrap();
    backend.commit().unwrap();
    drop(backend);
    assert_eq!(count(&disk.open(BackendOptions::default())), 4);
}
