//! Tests of one key's changes.

use super::*;

fn main(number: u64) -> Revision {
    Revision::new(number).unwrap()
}

fn at(number: u64) -> FullRevision {
    FullRevision::first_of(main(number))
}

/// The key of the worked example: put at 4 and 6, deleted at 7, put at 9.
fn example() -> KeyIndex {
    let mut key = KeyIndex::new(KeyChange::Put(KeyVersion::created_by(at(4))));
    key.put(at(6));
    key.tombstone(at(7));
    key.put(at(9));
    key.check_invariants();
    key
}

fn mains(changes: impl Iterator<Item = KeyChange>) -> Vec<u64> {
    changes.map(|change| change.at().main.number()).collect()
}

#[test]
fn a_read_finds_the_last_put_of_an_open_generation() {
    let key = example();
    let found = |revision| key.get(main(revision)).map(|it| it.modified.main.number());
    let expected = [
        None,
        Some(4),
        Some(4),
        Some(6),
        None,
        None,
        Some(9),
        Some(9),
    ];
    assert_eq!((3..11).map(found).collect::<Vec<_>>(), expected);
    let sixth = key.get(main(6)).unwrap();
    assert_eq!((sixth.created, sixth.version.number()), (main(4), 2));
    let ninth = key.get(main(9)).unwrap();
    assert_eq!((ninth.created, ninth.version.number()), (main(9), 1));
}

#[test]
fn a_compaction_keeps_what_a_read_at_it_finds_and_a_deletion_exactly_at_it() {
    for (revision, left) in [
        (3, vec![4, 6, 7, 9]),
        (5, vec![4, 6, 7, 9]),
        (6, vec![6, 7, 9]),
        (7, vec![7, 9]),
        (8, vec![9]),
        (20, vec![9]),
    ] {
        let mut key = example();
        assert_eq!(key.compact(main(revision)), Remains::Some);
        key.check_invariants();
        assert_eq!(mains(key.changes()), left, "compacted at {revision}");
    }
}

#[test]
fn a_key_deleted_before_the_compacted_revision_is_gone() {
    let mut key = example();
    key.tombstone(at(12));
    assert_eq!(key.clone().compact(main(13)), Remains::Nothing);
    assert_eq!(key.compact(main(12)), Remains::Some);
    assert_eq!(mains(key.changes()), [12]);
    assert_eq!(key.put(at(14)), KeyVersion::created_by(at(14)));
}

#[test]
fn deleting_a_deleted_key_changes_nothing() {
    let mut key = example();
    assert!(key.tombstone(at(10)).is_some());
    let deleted = key.clone();
    assert_eq!(key.tombstone(at(11)), None);
    assert_eq!(key, deleted);
}

#[test]
fn since_shows_deletions_and_only_the_last_change_of_a_transaction() {
    let mut key = example();
    let again = FullRevision::new(main(9), SubRevision::new(3));
    key.put(again);
    assert_eq!(key.since(main(7)), [at(7), again]);
    assert_eq!(key.since(main(8)), [again]);
    assert_eq!(key.since(main(10)), []);
}

#[test]
fn numbers_too_large_to_pack_are_kept_whole() {
    let version = KeyVersion {
        modified: FullRevision::new(main(9), SubRevision::new(u64::MAX)),
        created: main(2),
        version: Version::new(1 << 40).unwrap(),
    };
    let key = KeyIndex::new(KeyChange::Put(version));
    key.check_invariants();
    assert_eq!(key.latest(), Some(version));
    assert_eq!(key.dropped(main(20)).count(), 0);
}
