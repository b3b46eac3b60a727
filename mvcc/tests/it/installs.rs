//! Another member's database in the place of ours, while readers read.
//!
//! The scripts of all other tests install as well; here is what is special.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};

use cairn_backend::{Applied, Backend, BackendOptions, LmdbEngine, LmdbOptions};
use cairn_mvcc::{
    InstallError, KeyRange, LeaseId, Progress, RangeQuery, ReadAt, ReadError, Restored, Revision,
    ScanProgress, Store,
};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::model::Operation;
use crate::script::{Sends, Step, Subject, open, query, step};

fn put(key: &'static str, value: &'static str, lease: i64) -> Operation {
    Operation::Put {
        key: key.into(),
        value: value.into(),
        lease,
    }
}

fn hashes(subject: &Subject) -> Vec<u32> {
    let readable = subject.model.first()..=subject.model.current();
    let at = |at| ReadAt::Revision(Revision::from_wire(at).unwrap());
    readable
        .map(|revision| subject.store.hash_kv(at(revision)).unwrap().hash)
        .collect()
}

proptest! {
    /// Two members of one history, one of which installs, restarts and deletes what is compacted in
    /// its own time.
    #[test]
    fn what_was_installed_is_what_was_applied(
        before in vec(step(), 1..12),
        ahead in vec(step(), 0..12),
        after in vec(step(), 0..8),
        query in query(),
    ) {
        let mut follower = Subject::new();
        for step in &before {
            follower.run(step);
        }
        let mut leader = follower.twin();
        for step in &ahead {
            leader.run(step);
        }
        if leader.model.current() < follower.model.current() || leader.model.compacted < follower.model.compacted {
            // It has crashed, and is no leader of this follower.
            return Ok(());
        }
        follower.install(&mut leader);
        follower.check_range(&query, NonZeroUsize::MIN);
        follower.check_history(2);
        prop_assert_eq!(hashes(&follower), hashes(&leader));
        follower.finish_compaction();
        prop_assert_eq!(hashes(&follower), hashes(&leader));
        leader.finish_compaction();
        prop_assert_eq!(hashes(&follower), hashes(&leader));
        for step in &after {
            follower.run(step);
        }
        follower.check_range(&query, NonZeroUsize::MIN);
        follower.check_history(2);
    }
}

#[test]
fn an_installation_tells_the_leases_of_live_keys_as_a_restore_does() {
    let mut leader = Subject::new();
    leader.write(&[
        vec![put("a", "1", 7), put("b", "1", 7), put("c", "1", 7)],
        vec![
            put("b", "2", 0),
            Operation::Delete(KeyRange::One("c".into())),
        ],
        vec![put("d", "1", 9)],
    ]);
    let follower = Subject::new();
    let installed = leader.store.send_to(&follower.store, &mut leader.applied);
    let lease = |id| LeaseId::from_wire(id).unwrap();
    assert_eq!(
        installed.leases,
        [(lease(7), "a".into()), (lease(9), "d".into())]
    );
    assert_eq!(installed.current, leader.store.current());
    assert_eq!(installed.applied.index, leader.applied);
    assert_eq!(follower.store.compaction_finished(), None);

    leader.compact(0);
    leader.finish_compaction();
    leader.store.send_to(&follower.store, &mut leader.applied);
    assert_eq!(follower.store.compaction_finished(), leader.model.compacted);
    assert_eq!(follower.store.compaction_step(1).unwrap(), Progress::Idle);
}

#[test]
fn a_scan_that_an_installation_overtakes_goes_on_or_learns_that_it_is_compacted() {
    for compacts in [false, true] {
        let mut leader = Subject::new();
        leader.write(&[vec![put("a", "1", 0), put("b", "1", 0)]]);
        let mut follower = leader.twin();
        let mut scan = follower
            .store
            .scan(&RangeQuery::new(KeyRange::All))
            .unwrap();
        let mut read = Vec::new();
        let mut next = |scan: &mut cairn_mvcc::RangeScan| {
            scan.next_chunk(NonZeroUsize::MIN, &mut |pair| {
                read.push(pair.fields().unwrap().value.to_vec());
                ControlFlow::Continue(())
            })
        };
        assert_eq!(next(&mut scan).unwrap(), ScanProgress::More);
        leader.write(&[vec![put("a", "2", 0), put("b", "2", 0)]]);
        if compacts {
            leader.compact(0);
            leader.finish_compaction();
        }
        follower.install(&mut leader);
        match next(&mut scan) {
            Ok(ScanProgress::Done(summary)) => {
                assert_eq!((compacts, summary.count), (false, 2));
                assert_eq!(read, [b"1", b"1"]);
            }
            Err(ReadError::Compacted { .. }) => assert!(compacts),
            other => panic!("{other:?}"),
        }
    }
}

/// P9 (etcd issue 17780): the revision never decreases; here, by what a peer sends.
#[test]
fn p9_a_database_of_an_earlier_revision_or_compaction_is_refused_and_changes_nothing() {
    let mut ours = Subject::new();
    ours.write(&[vec![put("a", "1", 0)], vec![put("a", "2", 0)]]);
    ours.compact(0);
    let mut short = Subject::new();
    short.write(&[vec![put("a", "1", 0)]]);
    let mut uncompacted = Subject::new();
    uncompacted.write(&[vec![put("a", "1", 0)], vec![put("a", "2", 0)]]);
    for (other, expected) in [
        (&mut short, "GoesBack"),
        (&mut uncompacted, "ForgetsCompaction"),
    ] {
        // Enough to be installed somewhere, so that it stands for a place in the log.
        other.twin();
        let mut sender = other.store.backend().send().unwrap();
        let mut receiver = ours.store.backend().receive().unwrap();
        while let Some(chunk) = sender.next_chunk().unwrap() {
            receiver.write(&chunk).unwrap();
        }
        let received = receiver.finish().unwrap();
        let error = ours.store.prepare_install(received).unwrap_err();
        assert!(format!("{error:?}").starts_with(expected), "{error:?}");
    }
    let nowhere = Applied { index: 99, term: 1 };
    let error = ours.store.prepare_install(nowhere).unwrap_err();
    assert!(matches!(error, InstallError::NotReceived(_)), "{error}");
    ours.check_history(1);
}

/// P11 (etcd issue 18055): two snapshots in quick succession.
#[test]
fn p11_two_installations_in_a_row_and_a_third_that_comes_too_late() {
    let mut leader = Subject::new();
    leader.write(&[vec![put("a", "1", 0)]]);
    let mut follower = leader.twin();
    let mut offers = Vec::new();
    for value in ["2", "3", "4"] {
        leader.write(&[vec![put("a", value, 0)]]);
        leader.twin();
        offers.push(leader.store.offer_to(&follower.store));
    }
    let last = offers.pop().unwrap();
    let [second, third] = <[_; 2]>::try_from(offers).unwrap();
    follower.store.install(second).unwrap();
    follower.store.install(last).unwrap();
    let late = follower.store.install(third).unwrap_err();
    assert!(matches!(late, InstallError::GoesBack { .. }), "{late}");
    follower.install(&mut leader);
    follower.check_history(1);
}

/// A compaction that deletes step by step while databases come.
#[test]
fn a_compaction_under_way_ends_with_what_it_compacted() {
    let mut leader = Subject::new();
    let rounds: Vec<_> = (0..20)
        .map(|_| vec![put("a", "x", 0), put("b", "x", 0)])
        .collect();
    leader.write(&rounds);
    leader.compact(0);
    let mut follower = leader.twin();
    assert_eq!(
        follower.store.compaction_step(3).unwrap(),
        Progress::Working
    );
    leader.write(&rounds);
    leader.compact(0);
    assert_eq!(leader.store.compaction_step(5).unwrap(), Progress::Working);
    follower.install(&mut leader);
    follower.check_history(1);
    follower.finish_compaction();
    follower.check_history(1);
    follower.commit();
    follower.crash();
    assert_eq!(follower.store.compaction_step(1).unwrap(), Progress::Idle);
    leader.finish_compaction();
    assert_eq!(hashes(&follower), hashes(&leader));
}

/// How many keys each revision of the next test writes, each with the revision as its value.
const KEYS: u64 = 40;

fn open_lmdb(directory: &tempfile::TempDir) -> Store {
    let options = LmdbOptions {
        defragment_piece_bytes: 4096,
        ..LmdbOptions::default()
    };
    let engine = LmdbEngine::open(directory.path(), options).unwrap();
    let backend = Backend::open(engine, BackendOptions::default()).unwrap();
    Store::restore(backend).unwrap()
}

/// Applies the entry `index`: all keys, and with `compacts` a compaction at the revision.
fn apply(store: &Store, index: u64, compacts: bool) -> Revision {
    let mut batch = store.write();
    let mut txn = batch.txn();
    let value = txn.revision().to_wire().to_string();
    for key in 0..KEYS {
        txn.put(format!("{key:03}").as_bytes(), value.as_bytes(), None);
    }
    let revision = txn.end().revision;
    if compacts {
        batch.schedule_compaction(revision).unwrap();
    }
    let place = Applied { index, term: 1 };
    place.write(batch.backend());
    batch.end().unwrap();
    revision
}

/// Reads all keys, which must be of one revision, that of the store: it is not before `last`.
fn check_one_state(store: &Store, last: Revision) -> Revision {
    let mut values = BTreeMap::<Vec<u8>, u64>::new();
    let query = RangeQuery::new(KeyRange::All);
    let count = &mut |pair: cairn_mvcc::StoredKv<'_>| {
        let value = pair.fields().unwrap().value.to_vec();
        *values.entry(value).or_default() += 1;
    };
    let revision = store.range(&query, count).unwrap().revision;
    assert!(revision >= last, "the store has gone back");
    if revision > Revision::FIRST {
        let value = revision.to_wire().to_string().into_bytes();
        assert_eq!(values, BTreeMap::from([(value, KEYS)]));
    }
    revision
}

/// P4 (etcd issues 14685, 20653), P11 and P22 (etcd issues 17230, 11817): everything at once on LMDB.
/// Each revision is known from its number, so whoever reads sees one state or has found a fault.
#[test]
fn p4_p22_reads_hashes_compactions_defragmentations_and_installations_at_once() {
    const ROUNDS: u64 = 25;
    let (ours, theirs) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (leader, follower) = (open_lmdb(&theirs), open_lmdb(&ours));
    let stop = AtomicBool::new(false);
    let until_stopped = |work: &mut dyn FnMut()| {
        while !stop.load(Ordering::Relaxed) {
            work();
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut last = Revision::FIRST;
            until_stopped(&mut || last = check_one_state(&follower, last));
        });
        scope.spawn(|| {
            until_stopped(&mut || {
                let hash = follower.hash_kv(ReadAt::Latest).unwrap();
                // The leader may not have come as far, or have compacted further.
                if let Ok(same) = leader.hash_kv(ReadAt::Revision(hash.revision))
                    && same.compacted == hash.compacted
                {
                    assert_eq!(same.hash, hash.hash, "at {}", hash.revision);
                }
            });
        });
        scope.spawn(|| {
            until_stopped(&mut || {
                follower.backend().defragment().unwrap();
                leader.backend().defragment().unwrap();
            });
        });
        scope.spawn(|| {
            until_stopped(&mut || {
                follower.compaction_step(50).unwrap();
                leader.compaction_step(70).unwrap();
                follower.backend().commit().unwrap();
            });
        });
        for index in (0..ROUNDS).map(|round| 4 * round) {
            for entry in 1..=3 {
                apply(&leader, index + entry, index % 3 == 0);
            }
            let prepared = leader.offer_to(&follower);
            let installed = follower.install(prepared).unwrap();
            assert_eq!(installed.current, leader.current());
            // Both apply what comes next, so that the follower has something buffered.
            let revision = apply(&leader, index + 4, false);
            assert_eq!(apply(&follower, index + 4, false), revision);
        }
        stop.store(true, Ordering::Relaxed);
    });
    let expected = leader.hash_kv(ReadAt::Latest).unwrap();
    assert_eq!(follower.hash_kv(ReadAt::Latest).unwrap(), expected);
    follower.backend().commit().unwrap();
    drop(follower);
    let restored = Restored::read(open_lmdb(&ours).backend().clone()).unwrap();
    assert_eq!(restored.store.hash_kv(ReadAt::Latest).unwrap(), expected);
}

/// A received database that a crash kept from being installed is installed before the store is read.
#[test]
fn a_crash_before_the_installation_leaves_the_database_to_be_installed_at_the_start() {
    let mut leader = Subject::new();
    leader.write(&[vec![put("a", "1", 0)]]);
    let mut follower = leader.twin();
    leader.write(&[vec![put("a", "2", 0)]]);
    leader.twin();
    let received = leader.store.offer_to(&follower.store).applied();
    follower.run(&Step::Crash);

    let backend = crate::script::backend(&follower.engine);
    assert_eq!(backend.received(), [received]);
    assert_eq!(backend.resume_install(received).unwrap(), Some(received));
    assert_eq!(backend.resume_install(received).unwrap(), None);
    drop(backend);
    let store = open(&follower.engine);
    assert_eq!(store.current(), leader.store.current());
    assert_eq!(
        store.hash_kv(ReadAt::Latest).unwrap(),
        leader.store.hash_kv(ReadAt::Latest).unwrap()
    );
}
