//! A received database that takes the place of the one in use.

use std::sync::atomic::{AtomicU64, Ordering};

use cairn_backend::{Backend, CommitError, InstallError, MemoryEngine, Table};

use crate::engines::{Disk, LmdbDisk, entries, on_each_engine};
use crate::transfer::{applied, chunks, everything, receive, write};

/// Installs what a leader holds.
fn install(leader: &Backend, follower: &Backend) {
    let received = receive(follower, &chunks(leader.send().unwrap())).unwrap();
    follower.begin_install(received).unwrap().end();
}

/// A leader that has applied some entries.
fn leader(indexes: std::ops::RangeInclusive<u64>) -> Backend {
    let leader = MemoryEngine::new().open();
    for index in indexes {
        write(&leader, index, 100);
    }
    leader
}

#[test]
fn an_installed_database_takes_the_place_of_ours_and_of_what_was_buffered() {
    on_each_engine(|disk| {
        let leader = leader(1..=20);
        let follower = disk.open();
        write(&follower, 1, 100);
        follower.commit().unwrap();
        follower.write().put(Table::Alarm, b"ours", "1".into());
        let before = follower.read().unwrap();
        let old = everything(&before);

        install(&leader, &follower);
        let new = everything(&leader.read().unwrap());
        assert_eq!(everything(&follower.read().unwrap()), new);
        assert_eq!(everything(&before), old, "an older view stays what it is");
        assert_eq!(follower.received(), []);
        drop((before, follower));

        let follower = disk.open();
        assert_eq!(everything(&follower.read().unwrap()), new, "it is durable");
        write(&follower, 21, 100);
        follower.commit().unwrap();
        drop(follower);
        assert_eq!(entries(&disk.open().read().unwrap(), Table::Key).len(), 21);
    });
}

#[test]
fn readers_see_an_installation_when_it_ends() {
    on_each_engine(|disk| {
        let leader = leader(1..=3);
        let follower = disk.open();
        let received = receive(&follower, &chunks(leader.send().unwrap())).unwrap();
        let installing = follower.begin_install(received).unwrap();
        assert_eq!(everything(&follower.read().unwrap()), []);
        installing.end();
        assert_eq!(follower.hash().unwrap(), leader.hash().unwrap());
    });
}

#[test]
fn an_installation_after_a_crash_is_as_one_without() {
    on_each_engine(|disk| {
        let leader = leader(1..=9);
        let follower = disk.open();
        receive(&follower, &chunks(leader.send().unwrap())).unwrap();
        drop(follower);
        let follower = disk.open();
        assert_eq!(follower.received(), [applied(9)]);
        follower.begin_install(applied(9)).unwrap().end();
        assert_eq!(follower.hash().unwrap(), leader.hash().unwrap());
        drop(follower);
        assert_eq!(disk.open().hash().unwrap(), leader.hash().unwrap());
    });
}

#[test]
fn a_start_installs_what_the_log_begins_after_and_deletes_what_it_was_never_told_of() {
    on_each_engine(|disk| {
        let follower = disk.open();
        write(&follower, 2, 100);
        for leader in [leader(1..=5), leader(1..=9)] {
            receive(&follower, &chunks(leader.send().unwrap())).unwrap();
        }
        follower.commit().unwrap();
        drop(follower);

        let follower = disk.open();
        let error = follower.resume_install(applied(7)).unwrap_err();
        assert!(matches!(error, InstallError::NotReceived { .. }), "{error}");
        assert_eq!(follower.received(), [applied(5), applied(9)]);
        assert_eq!(
            follower.resume_install(applied(5)).unwrap(),
            Some(applied(5))
        );
        assert_eq!(follower.hash().unwrap(), leader(1..=5).hash().unwrap());
        assert_eq!(follower.received(), []);
        assert_eq!(follower.resume_install(applied(5)).unwrap(), None);
    });
}

/// P9 (etcd issue 17780): a store never goes back.
#[test]
fn p9_what_is_not_ahead_of_ours_is_not_installed() {
    on_each_engine(|disk| {
        let leader = leader(1..=5);
        let follower = disk.open();
        receive(&follower, &chunks(leader.send().unwrap())).unwrap();
        write(&follower, 5, 100);
        let error = follower.begin_install(applied(5)).unwrap_err();
        assert!(matches!(error, InstallError::NotAhead { .. }), "{error}");
        let error = follower.begin_install(applied(6)).unwrap_err();
        assert!(matches!(error, InstallError::NotReceived { .. }), "{error}");
        assert_eq!(entries(&follower.read().unwrap(), Table::Key).len(), 1);
        follower.commit().unwrap();
    });
}

/// P11 (etcd issue 18055): two snapshots in quick succession.
#[test]
fn p11_two_databases_received_at_once_are_installed_one_after_the_other_or_the_later_alone() {
    on_each_engine(|disk| {
        let first = leader(1..=5);
        let second = leader(1..=9);
        let follower = disk.open();
        for leader in [&second, &first, &first] {
            receive(&follower, &chunks(leader.send().unwrap())).unwrap();
        }
        assert_eq!(follower.received(), [applied(5), applied(9)]);
        follower.begin_install(applied(5)).unwrap().end();
        assert_eq!(follower.hash().unwrap(), first.hash().unwrap());
        follower.begin_install(applied(9)).unwrap().end();
        assert_eq!(follower.hash().unwrap(), second.hash().unwrap());
        follower.begin_install(applied(9)).unwrap_err();
        follower.commit().unwrap();
    });
    on_each_engine(|disk| {
        let follower = disk.open();
        for leader in [leader(1..=5), leader(1..=9)] {
            receive(&follower, &chunks(leader.send().unwrap())).unwrap();
        }
        follower.begin_install(applied(9)).unwrap().end();
        assert_eq!(follower.received(), [], "what is overtaken is deleted");
    });
}

#[test]
fn an_installation_that_may_not_be_durable_poisons_and_leaves_one_of_the_two() {
    let disk = MemoryEngine::new();
    let leader = leader(1..=5);
    let follower = disk.open();
    write(&follower, 1, 100);
    follower.commit().unwrap();
    let received = receive(&follower, &chunks(leader.send().unwrap())).unwrap();
    disk.fail_next_install();
    let error = follower.begin_install(received).unwrap_err();
    assert!(matches!(error, InstallError::Poisoned(_)), "{error}");
    assert!(matches!(
        *follower.poisoned().unwrap().cause,
        CommitError::Injected
    ));
    assert_eq!(entries(&follower.read().unwrap(), Table::Key).len(), 1);
    drop(follower);
    assert_eq!(disk.open().hash().unwrap(), leader.hash().unwrap());
}

/// P4 (etcd issue 20653): a snapshot is applied while the database is defragmented.
#[test]
fn p4_installations_and_defragmentations_at_once_leave_what_was_installed() {
    const ROUNDS: u64 = 4;
    let disk = LmdbDisk::small();
    let leader = leader(1..=200);
    for restart in 0..8 {
        let follower = disk.open();
        let installed = AtomicU64::new(0);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while installed.load(Ordering::Relaxed) < ROUNDS {
                    follower.defragment().unwrap();
                }
            });
            for round in 1..=ROUNDS {
                write(&leader, 200 + restart * ROUNDS + round, 300);
                install(&leader, &follower);
                assert_eq!(follower.hash().unwrap(), leader.hash().unwrap());
                installed.store(round, Ordering::Relaxed);
            }
        });
        drop(follower);
        assert_eq!(disk.open().hash().unwrap(), leader.hash().unwrap());
    }
    let names: Vec<_> = std::fs::read_dir(disk.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(names, ["db"]);
}
