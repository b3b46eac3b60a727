//! Transactions: what they see, what readers see of them, and which revision they make.

use cairn_backend::Table;
use cairn_mvcc::{KeyRange, RangeQuery, ReadAt, ReadError, Revision, Store};

use crate::script::Subject;

fn values(store: &Store) -> Vec<String> {
    let mut values = Vec::new();
    let query = RangeQuery::new(KeyRange::All);
    let take = &mut |kv: cairn_mvcc::StoredKv<'_>| {
        values.push(String::from_utf8(kv.fields().unwrap().value.to_vec()).unwrap());
    };
    store.range(&query, take).unwrap();
    values
}

#[test]
fn a_transaction_sees_its_own_writes_and_readers_see_them_when_the_batch_ends() {
    let store = Subject::new().store;
    let mut batch = store.write();
    let mut txn = batch.txn();
    txn.put(b"a", b"1", None);
    txn.put(b"b", b"2", None);
    let deleted = txn.delete_range(&KeyRange::One("a".into()));
    assert_eq!(deleted.deleted(), 1);
    let summary = txn.range(&RangeQuery::new(KeyRange::All), &mut |kv| {
        assert_eq!(kv.key, b"b");
    });
    assert_eq!(summary.unwrap().count, 1);
    let subs: Vec<_> = txn
        .changes()
        .iter()
        .map(|change| change.at.sub.number())
        .collect();
    assert_eq!(subs, [0, 1, 2]);
    let committed = txn.end();
    assert_eq!(committed.revision.to_wire(), 2);
    assert_eq!(committed.changes[2].previous, Some(committed.changes[0].at));
    assert_eq!(store.current(), Revision::FIRST);
    assert!(values(&store).is_empty());
    batch.end().unwrap();
    assert_eq!(store.current().to_wire(), 2);
    assert_eq!(values(&store), ["2"]);
}

#[test]
fn a_transaction_that_changes_nothing_makes_no_revision() {
    let store = Subject::new().store;
    let mut batch = store.write();
    let mut txn = batch.txn();
    assert_eq!(txn.revision().to_wire(), 2);
    assert_eq!(txn.delete_range(&KeyRange::All).deleted(), 0);
    assert_eq!(txn.now(), Revision::FIRST);
    assert_eq!(txn.end().revision, Revision::FIRST);
    assert_eq!(batch.txn().revision().to_wire(), 2);
    batch.end().unwrap();
    assert_eq!(store.current(), Revision::FIRST);
}

#[test]
fn a_transaction_reads_old_revisions_and_no_future_ones() {
    let mut subject = Subject::new();
    subject.write(&[vec![crate::model::Operation::Put {
        key: "a".into(),
        value: "old".into(),
        lease: 0,
    }]]);
    let mut batch = subject.store.write();
    let mut txn = batch.txn();
    let at = |wire: i64| RangeQuery {
        at: ReadAt::Revision(Revision::from_wire(wire).unwrap()),
        ..RangeQuery::new(KeyRange::All)
    };
    assert!(matches!(
        txn.range(&at(3), &mut |_| {}),
        Err(ReadError::Future { .. })
    ));
    txn.put(b"a", b"new", None);
    for (wire, value) in [(2, b"old"), (3, b"new")] {
        let check = &mut |kv: cairn_mvcc::StoredKv<'_>| {
            assert_eq!(kv.fields().unwrap().value, value);
        };
        assert_eq!(txn.range(&at(wire), check).unwrap().revision.to_wire(), 3);
    }
    assert!(matches!(
        txn.range(&at(4), &mut |_| {}),
        Err(ReadError::Future { .. })
    ));
}

#[test]
fn a_range_deletion_larger_than_its_chunks_deletes_every_key_once_in_order() {
    let store = Subject::new().store;
    let mut batch = store.write();
    let mut txn = batch.txn();
    for number in 0..2500 {
        txn.put(format!("{number:04}").as_bytes(), b"", None);
    }
    let _ = txn.end();
    let mut txn = batch.txn();
    let range = KeyRange::From("0001".into());
    assert_eq!(txn.delete_range(&range).deleted(), 2499);
    assert_eq!(txn.delete_range(&range).deleted(), 0);
    let committed = txn.end();
    assert!(
        committed
            .changes
            .is_sorted_by_key(|change| change.key.clone())
    );
    batch.end().unwrap();
    assert_eq!(store.keys(), 1);
}

#[test]
fn what_a_batch_writes_to_other_tables_reaches_readers_with_it() {
    let store = Subject::new().store;
    let mut batch = store.write();
    batch.txn().put(b"a", b"1", None);
    batch.backend().put(Table::Meta, b"applied", "7".into());
    assert_eq!(
        store
            .backend()
            .read()
            .unwrap()
            .get(Table::Meta, b"applied")
            .unwrap(),
        None
    );
    batch.end().unwrap();
    let found = store.backend().read().unwrap().get(Table::Meta, b"applied");
    assert_eq!(found.unwrap().as_deref(), Some(b"7".as_slice()));
}

/// A commit that fails poisons the backend: what came after it must never have been seen.
#[test]
fn nothing_is_published_once_the_backend_has_failed() {
    let subject = Subject::new();
    let store = &subject.store;
    let mut batch = store.write();
    batch.txn().put(b"a", b"1", None);
    batch.end().unwrap();
    subject.engine.fail_next_commit();
    assert!(store.backend().force_commit().is_err());
    let mut batch = store.write();
    batch.txn().put(b"a", b"2", None);
    assert!(batch.end().is_err());
    assert_eq!(store.current().to_wire(), 2);
}
