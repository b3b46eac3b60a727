//! HashKV: equal to etcd's, and equal however far physical deletion has come.

use cairn_mvcc::{CompactionPoint, KeyRange, Progress, ReadAt, Revision};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::model::Operation;
use crate::script::{Step, Subject, open, step};

fn put(key: &'static str, value: &'static str, lease: i64) -> Operation {
    Operation::Put {
        key: key.into(),
        value: value.into(),
        lease,
    }
}

fn delete(key: &'static str) -> Operation {
    Operation::Delete(KeyRange::One(key.into()))
}

fn hash(subject: &Subject, at: i64) -> u32 {
    let at = Revision::from_wire(at).unwrap();
    let found = subject.store.hash_kv(ReadAt::Revision(at)).unwrap();
    assert_eq!(found.revision, at);
    assert_eq!(found.current, subject.store.current());
    assert_eq!(found.compacted, subject.model.compacted);
    found.hash
}

fn check(subject: &Subject, expected: &[(i64, u32)]) {
    let found: Vec<_> = expected
        .iter()
        .map(|&(at, _)| (at, hash(subject, at)))
        .collect();
    assert_eq!(found, expected);
}

/// Compacts, and checks the hashes at once, after each change deleted, and after a restart.
fn compact_and_check(subject: &mut Subject, at: i64, expected: &[(i64, u32)]) {
    subject.compact(subject.model.current() - at);
    assert_eq!(subject.model.compacted, CompactionPoint::from_wire(at));
    check(subject, expected);
    while subject.store.compaction_step(1).unwrap() != Progress::Idle {
        check(subject, expected);
    }
    subject.commit();
    subject.store = open(&subject.engine);
    check(subject, expected);
}

/// The numbers are what etcd 3.7.1 answers after the same commands, restarted after each compaction
/// because it otherwise answers for the compacted revision with what it hashed before compacting;
/// 3.4.23 gives the same where it answers. Revision 9 deletes every key: etcd takes the empty set
/// of what is kept for no compaction, and hashes more.
#[test]
fn hashes_are_etcds() {
    let mut subject = Subject::new();
    subject.write(&[
        vec![put("a", "1", 0)],
        vec![put("b", "2", 0)],
        vec![put("a", "3", 0)],
        vec![put("c", "x", 0), put("d", "y", 0), delete("b")],
        vec![delete("a")],
        vec![put("a", "again", 0)],
        vec![put("e", "leased", 7)],
    ]);
    check(
        &subject,
        &[
            (1, 1_084_519_789),
            (2, 2_587_454_935),
            (3, 1_827_592_406),
            (4, 2_069_675_932),
            (5, 3_645_575_843),
            (6, 613_370_496),
            (7, 4_147_343_025),
            (8, 2_641_199_383),
        ],
    );
    let at_5 = [
        (5, 1_384_744_825),
        (6, 1_382_216_586),
        (7, 3_533_476_115),
        (8, 2_858_658_010),
    ];
    compact_and_check(&mut subject, 5, &at_5);
    let at_6 = [(6, 454_297_321), (7, 3_803_370_576), (8, 140_330_744)];
    compact_and_check(&mut subject, 6, &at_6);
    subject.write(&[vec![Operation::Delete(KeyRange::All)]]);
    check(&subject, &at_6);
    check(&subject, &[(9, 2_224_404_566)]);
    compact_and_check(&mut subject, 9, &[(9, 1_084_519_789)]);
    subject.write(&[vec![put("f", "last", 0)]]);
    check(&subject, &[(9, 1_084_519_789), (10, 2_798_994_780)]);
}

/// A member that answers a hash while it deletes must not differ from one that has finished, or
/// operators are told of a corruption that is none.
#[test]
fn a_hash_of_nothing_does_not_depend_on_what_is_still_to_be_deleted() {
    let mut subject = Subject::new();
    subject.write(&[vec![put("a", "1", 0)], vec![put("a", "2", 0)]]);
    subject.compact(0);
    subject.write(&[vec![delete("a")]]);
    let before = hash(&subject, 4);
    subject.finish_compaction();
    assert_eq!(hash(&subject, 4), before);
}

proptest! {
    #[test]
    fn hashes_depend_neither_on_physical_compaction_nor_on_restarts(
        steps in vec(step(), 1..24),
    ) {
        let mut subject = Subject::new();
        for step in &steps {
            subject.run(step);
        }
        let all = |subject: &Subject| -> Vec<u32> {
            (subject.model.first()..=subject.model.current()).map(|at| hash(subject, at)).collect()
        };
        let expected = all(&subject);
        while subject.store.compaction_step(1).unwrap() != Progress::Idle {
            prop_assert_eq!(&all(&subject), &expected);
        }
        subject.run(&Step::Commit);
        subject.run(&Step::Crash);
        prop_assert_eq!(all(&subject), expected);
    }
}
