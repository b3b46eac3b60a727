//! The copying, one piece at a time, with commits between the pieces.

use std::ops::Bound;

use proptest::prelude::*;

use super::*;
use crate::applied::Applied;
use crate::engine::Engine;
use crate::lmdb::LmdbOptions;

/// Writes to the old file, then one more piece is copied; `None` deletes.
type Round = Vec<(Table, u8, Option<u8>)>;

fn any_round() -> impl Strategy<Value = Round> {
    let table = prop::sample::select(vec![Table::Alarm, Table::Lease, Table::Meta, Table::Key]);
    prop::collection::vec(
        (table, 0..40_u8, prop::option::weighted(0.6, any::<u8>())),
        0..12,
    )
}

fn batch(round: &Round) -> Buffer {
    let mut batch = Buffer::default();
    for (table, key, value) in round {
        let value = value.map(|value| Bytes::from(vec![value; 40]));
        batch.set(*table, Bytes::from(vec![*key]), value);
    }
    batch
}

fn entries(env: &Arc<Env>, table: Table) -> Vec<(Vec<u8>, Vec<u8>)> {
    let snapshot = env.snapshot().unwrap();
    let all = (Bound::Unbounded, Bound::Unbounded);
    snapshot
        .entries(table, all, Order::Ascending)
        .unwrap()
        .map(|entry| {
            entry
                .map(|(key, value)| (key.to_vec(), value.to_vec()))
                .unwrap()
        })
        .collect()
}

/// The invariant of the module: what is covered is the same in both files, and no more is copied.
fn check_invariant(copying: &Copying<'_>) {
    for table in Table::ALL {
        let mut old = entries(&copying.engine.current.load_full(), table);
        old.retain(|(key, _)| copying.progress.covers(table, key));
        assert_eq!(
            entries(&copying.env, table),
            old,
            "{table:?} at {:?}",
            copying.progress
        );
    }
}

fn open(piece_bytes: usize) -> (tempfile::TempDir, LmdbEngine) {
    let directory = tempfile::tempdir().unwrap();
    let options = LmdbOptions {
        defragment_piece_bytes: piece_bytes,
        ..LmdbOptions::default()
    };
    let engine = LmdbEngine::open(directory.path(), options).unwrap();
    (directory, engine)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn after_each_piece_the_copy_is_the_original_as_far_as_it_goes(
        before in any_round(),
        rounds in prop::collection::vec(any_round(), 1..25),
        piece_bytes in 1..400_usize,
    ) {
        let (_directory, engine) = open(piece_bytes);
        engine.commit(&batch(&before)).unwrap();
        let path = engine.directory.temporary_file(PURPOSE);
        let env = Arc::new(Env::open(&engine.directory, &path, &engine.options).unwrap());
        engine.committed.lock().begin();
        let mut copying = Copying::new(&engine, env);
        for round in &rounds {
            engine.commit(&batch(round)).unwrap();
            copying.copy_next().unwrap();
            check_invariant(&copying);
        }
    }
}

#[test]
fn a_piece_is_no_larger_than_asked_for() {
    let (_directory, engine) = open(100);
    let round: Round = (0..30).map(|key| (Table::Key, key, Some(1))).collect();
    engine.commit(&batch(&round)).unwrap();
    let path = engine.directory.temporary_file(PURPOSE);
    let env = Arc::new(Env::open(&engine.directory, &path, &engine.options).unwrap());
    engine.committed.lock().begin();
    let mut copying = Copying::new(&engine, env);
    let mut copied = Vec::new();
    while !copying.progress.is_complete() {
        copying.copy_next().unwrap();
        copied.push(entries(&copying.env, Table::Key).len());
    }
    assert_eq!(copied, [3, 6, 9, 12, 15, 18, 21, 24, 27, 30, 30]);
}

#[test]
fn changes_are_noted_only_while_a_defragmentation_runs() {
    let noted = batch(&vec![(Table::Key, 1, Some(1)), (Table::Meta, 2, None)]);
    let mut changes = Changes::default();
    changes.note(&noted);
    changes.begin();
    assert_eq!(changes.take().unwrap(), []);
    changes.note(&noted);
    let keys = [
        (Table::Key, Bytes::from_static(&[1])),
        (Table::Meta, Bytes::from_static(&[2])),
    ];
    assert_eq!(changes.take().unwrap(), keys);
    assert_eq!(changes.take().unwrap(), []);
}

#[test]
fn more_changes_than_can_be_noted_overtake_the_defragmentation() {
    let mut large = Buffer::default();
    for number in 0..NOTES_MAX as u64 {
        large.set(
            Table::Key,
            Bytes::copy_from_slice(&number.to_be_bytes()),
            None,
        );
    }
    let mut changes = Changes::default();
    changes.begin();
    changes.note(&large);
    changes.note(&batch(&vec![(Table::Key, 1, None)]));
    let overtaken = changes.take().unwrap_err();
    assert!(
        matches!(overtaken, DefragmentError::Overtaken { changes } if changes == NOTES_MAX + 1)
    );
    changes.end();
    changes.note(&large);
}

/// P4 (etcd issue 20653): a database that is installed amid a defragmentation keeps its name, whatever
/// the defragmentation has come to.
#[test]
fn p4_a_defragmentation_gives_up_when_the_database_is_replaced_at_any_moment() {
    let ours: Round = (0..9).map(|key| (Table::Key, key, Some(1))).collect();
    let theirs = Applied { index: 7, term: 1 };
    for pieces_before in 0..5 {
        let (directory, engine) = open(200);
        engine.commit(&batch(&ours)).unwrap();
        let mut incoming = engine.receive().unwrap();
        incoming
            .append(Table::Key, &[(b"theirs", b"value")])
            .unwrap();
        incoming.finish(theirs).unwrap();

        let path = engine.directory.temporary_file(PURPOSE);
        let env = Arc::new(Env::open(&engine.directory, &path, &engine.options).unwrap());
        engine.committed.lock().begin();
        let mut copying = Copying::new(&engine, env);
        for _ in 0..pieces_before {
            copying.copy_next().unwrap();
        }
        let installed = engine.install(theirs).unwrap();
        let given_up = copying.run(&path);
        assert!(matches!(given_up, Err(DefragmentError::Replaced)));
        engine.committed.lock().end();
        engine.defragment().unwrap();
        drop((installed, engine));

        let engine = LmdbEngine::open(directory.path(), LmdbOptions::default()).unwrap();
        let found = engine.current.load_full();
        let expected = (b"theirs".to_vec(), b"value".to_vec());
        assert_eq!(entries(&found, Table::Key), [expected]);
    }
}
