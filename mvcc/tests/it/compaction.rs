//! Compaction: invisible at and above its point, and finished whatever happens.

use std::ops::{Bound, ControlFlow};
use std::sync::atomic::{AtomicBool, Ordering};

use cairn_backend::Table;
use cairn_mvcc::{
    BucketKey, CompactError, CompactionPoint, EventLimits, KeyRange, Progress, RangeQuery,
    ReadError, Revision, Store,
};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::model::Operation;
use crate::script::{Step, Subject, open, step};

fn put(key: &'static str) -> Vec<Operation> {
    vec![Operation::Put {
        key: key.into(),
        value: "value".into(),
        lease: 0,
    }]
}

fn delete(key: &'static str) -> Vec<Operation> {
    vec![Operation::Delete(KeyRange::One(key.into()))]
}

/// The keys of all stored changes.
fn stored(store: &Store) -> Vec<String> {
    let mut keys = Vec::new();
    let tx = store.backend().read().unwrap();
    let everything = (Bound::Unbounded, Bound::Unbounded);
    tx.scan(Table::Key, everything, &mut |key, _| {
        let (at, kind) = BucketKey::decode(key).unwrap();
        keys.push(format!("{at:?} {kind:?}"));
        ControlFlow::Continue(())
    })
    .unwrap();
    keys
}

#[test]
fn points_that_are_compacted_or_not_written_yet_are_refused() {
    let mut subject = Subject::new();
    subject.write(&[put("a"), put("a")]);
    let mut batch = subject.store.write();
    let point = |wire| CompactionPoint::from_wire(wire).unwrap();
    assert!(batch.schedule_compaction(CompactionPoint::ORIGIN).is_ok());
    for refused in [0, 4] {
        assert!(batch.schedule_compaction(point(refused)).is_err());
    }
    assert!(batch.schedule_compaction(Revision::FIRST.next()).is_ok());
    assert_eq!(
        batch.schedule_compaction(point(2)),
        Err(CompactError::Compacted {
            requested: point(2),
            compacted: point(2)
        })
    );
    assert!(batch.schedule_compaction(point(3)).is_ok());
    batch.end().unwrap();
    assert_eq!(subject.store.compaction_point(), Some(point(3)));
}

#[test]
fn a_compaction_at_zero_is_done_once_and_remembered() {
    let mut subject = Subject::new();
    subject.compact(1);
    assert_eq!(
        subject.store.compaction_point(),
        Some(CompactionPoint::ORIGIN)
    );
    assert_eq!(subject.store.compacted(), None);
    subject.compact(1);
    subject.finish_compaction();
    subject.commit();
    subject.crash();
    subject.compact(1);
    assert_eq!(
        subject.store.compaction_point(),
        Some(CompactionPoint::ORIGIN)
    );
}

/// P9 (etcd issue 17780): etcd lost revisions this way: the last ones were deletions, compaction deleted them, and a crash
/// before it noted that it had finished left no trace of them.
#[test]
fn the_revision_does_not_go_back_when_compaction_deletes_the_last_ones() {
    let mut subject = Subject::new();
    subject.write(&[put("a"), delete("a"), put("b"), delete("b")]);
    subject.compact(0);
    // All is deleted but the last tombstone; delete that by hand, as older versions did.
    while subject.store.compaction_step(1).unwrap() == Progress::Working {}
    let last = BucketKey::tombstone(cairn_mvcc::FullRevision::first_of(subject.store.current()));
    let mut tx = subject.store.backend().write();
    tx.delete(Table::Key, last.as_bytes());
    tx.delete(Table::Meta, b"finishedCompactRev");
    tx.end().unwrap();
    subject.commit();
    assert_eq!(stored(&subject.store), Vec::<String>::new());
    subject.crash();
    assert_eq!(subject.store.current().to_wire(), 5);
    subject.finish_compaction();
    subject.write(&[put("c")]);
    assert_eq!(subject.store.current().to_wire(), 6);
}

/// P10 (etcd issues 18089, 19179).
#[test]
fn a_deletion_at_the_compacted_revision_stays_for_watchers_until_the_next_compaction() {
    let mut subject = Subject::new();
    subject.write(&[put("a"), delete("a")]);
    subject.compact(0);
    subject.finish_compaction();
    let from = subject.store.current();
    let limits = EventLimits {
        scanned_max: 10,
        bytes_max: 1000,
    };
    let events = subject.store.events(from, from, limits, &mut |_| true);
    assert_eq!(events.unwrap().changes.len(), 1);
    subject.write(&[put("b")]);
    subject.compact(0);
    subject.finish_compaction();
    assert_eq!(stored(&subject.store).len(), 1);
}

#[test]
fn what_is_compacted_cannot_be_read_before_anything_is_deleted() {
    let mut subject = Subject::new();
    subject.write(&[put("a"), put("a"), put("a")]);
    subject.compact(0);
    let mut query = RangeQuery::new(KeyRange::All);
    query.at = cairn_mvcc::ReadAt::Revision(Revision::from_wire(3).unwrap());
    let refused = subject.store.range(&query, &mut |_| {});
    assert!(matches!(refused, Err(ReadError::Compacted { .. })));
    assert_eq!(stored(&subject.store).len(), 3);
    assert_eq!(
        subject.store.compaction_step(10).unwrap(),
        Progress::Finished(Revision::from_wire(4).unwrap().into())
    );
    assert_eq!(stored(&subject.store).len(), 1);
    assert_eq!(subject.store.compaction_step(10).unwrap(), Progress::Idle);
}

/// P22 (etcd issue 11817): readers at the latest revision run against a writer and a compaction that never rest: what they
/// find is always whole.
#[test]
fn readers_never_see_a_compaction_or_half_a_transaction() {
    let mut subject = Subject::new();
    subject.write(&[put("a"), put("b")]);
    let store = &subject.store;
    let done = &AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(move || {
                while !done.load(Ordering::Relaxed) {
                    let mut pairs = Vec::new();
                    let query = RangeQuery::new(KeyRange::All);
                    let summary = store.range(&query, &mut |kv| {
                        pairs.push((kv.key.to_vec(), kv.fields().unwrap().value.to_vec()));
                    });
                    summary.unwrap();
                    assert_eq!(pairs.len(), 2);
                    // Both keys are always written together.
                    assert_eq!(pairs[0].1.len(), 5);
                    assert!(pairs[0].1 == b"value" || pairs[0].1 == pairs[1].1);
                }
            });
        }
        scope.spawn(move || {
            while !done.load(Ordering::Relaxed) {
                store.compaction_step(2).unwrap();
            }
        });
        for round in 0..2000_u32 {
            let value = format!("{round:05}");
            let mut batch = store.write();
            let mut txn = batch.txn();
            txn.put(b"a", value.as_bytes(), None);
            txn.put(b"b", value.as_bytes(), None);
            let revision = txn.end().revision;
            batch.schedule_compaction(revision).unwrap();
            batch.end().unwrap();
            if round % 100 == 0 {
                store.backend().commit().unwrap();
            }
        }
        done.store(true, Ordering::Relaxed);
    });
    subject.finish_compaction();
    assert_eq!(stored(&subject.store).len(), 2);
}

proptest! {
    /// P9 (etcd issue 17780): `Subject::crash` checks that the revision is what was committed.
    #[test]
    fn a_compaction_cut_short_by_a_crash_finishes_and_leaves_what_one_at_rest_leaves(
        steps in vec(step(), 1..20),
        work in 0_usize..6,
    ) {
        let mut subject = Subject::new();
        for step in &steps {
            subject.run(step);
        }
        subject.compact(1);
        subject.commit();
        let undisturbed = open(&subject.engine);
        for _ in 0..work {
            subject.run(&Step::Work(1));
        }
        subject.commit();
        subject.crash();
        subject.finish_compaction();
        while undisturbed.compaction_step(100).unwrap() != Progress::Idle {}
        prop_assert_eq!(stored(&subject.store), stored(&undisturbed));
        prop_assert_eq!(subject.store.compaction_step(1).unwrap(), Progress::Idle);
        subject.check_history(3);
    }
}
