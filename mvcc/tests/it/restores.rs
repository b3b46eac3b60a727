//! Crashes: what comes back is what had reached the disk.

use std::num::NonZeroUsize;

use bytes::Bytes;
use cairn_backend::{Backend, BackendOptions, LmdbEngine, LmdbOptions, MemoryEngine, Table};
use cairn_mvcc::{BucketKey, FullRevision, KeyRange, LeaseId, Restored, Revision, Store};
use cairn_proto::mvccpb::KeyValue;
use proptest::collection::vec;
use proptest::prelude::*;
use prost::Message;

use crate::script::{Step, Subject, backend, query, step};

proptest! {
    /// `Subject::crash` compares revision and compaction; whatever the cut, contents follow.
    #[test]
    fn a_restored_store_is_what_was_there_at_the_last_commit(
        before in vec(step(), 1..16),
        lost in vec(step(), 1..8),
        after in vec(step(), 0..8),
        query in query(),
    ) {
        let mut subject = Subject::new();
        for step in before.iter().chain([&Step::Commit]).chain(&lost).chain([&Step::Crash]) {
            subject.run(step);
        }
        subject.check_range(&query, NonZeroUsize::MIN);
        for step in &after {
            subject.run(step);
        }
        subject.finish_compaction();
        subject.check_range(&query, NonZeroUsize::MIN);
        subject.check_history(2);
    }
}

#[test]
fn a_store_comes_back_from_lmdb_with_the_leases_of_its_live_keys() {
    let directory = tempfile::tempdir().unwrap();
    let open = || {
        let engine = LmdbEngine::open(directory.path(), LmdbOptions::default()).unwrap();
        Backend::open(engine, BackendOptions::default()).unwrap()
    };
    let lease = LeaseId::from_wire;
    {
        let backend = open();
        let store = Store::restore(backend.clone()).unwrap();
        let mut batch = store.write();
        for round in 0..3_i64 {
            for key in 0..10_000 {
                let mut txn = batch.txn();
                // Of every ten keys one keeps its lease, one loses it to a put, one to a deletion.
                let attached = if key % 10 == 0 || (key % 10 < 3 && round < 2) {
                    5
                } else {
                    0
                };
                txn.put(format!("{key:05}").as_bytes(), b"value", lease(attached));
            }
        }
        for key in (2..10_000).step_by(10) {
            batch
                .txn()
                .delete_range(&KeyRange::One(format!("{key:05}").into()));
        }
        batch.end().unwrap();
        backend.force_commit().unwrap();
    }
    let restored = Restored::read(open()).unwrap();
    assert_eq!(restored.store.current().to_wire(), 31_001);
    assert_eq!(restored.store.keys(), 9000);
    let expected = (0..10_000)
        .step_by(10)
        .map(|key| (lease(5).unwrap(), format!("{key:05}").into()));
    assert_eq!(restored.leases, expected.collect::<Vec<(LeaseId, Bytes)>>());
}

#[test]
fn damaged_changes_are_refused_and_named() {
    let kv = |modified: i64| KeyValue {
        key: "k".into(),
        create_revision: 2,
        mod_revision: modified,
        version: 1,
        ..KeyValue::default()
    };
    let at = FullRevision::first_of(Revision::from_wire(2).unwrap());
    let key = BucketKey::put(at);
    let restore = |key: &[u8], value: Vec<u8>| {
        let backend = backend(&MemoryEngine::new());
        let mut tx = backend.write();
        tx.put(Table::Key, key, value.into());
        tx.end().unwrap();
        Store::restore(backend)
    };
    assert!(restore(key.as_bytes(), kv(2).encode_to_vec()).is_ok());
    for (key, value, why) in [
        (
            &b"short"[..],
            kv(2).encode_to_vec(),
            "`short` is not the key of a change",
        ),
        (
            key.as_bytes(),
            vec![0x0a],
            "a stored value is not a KeyValue",
        ),
        (
            key.as_bytes(),
            kv(3).encode_to_vec(),
            "the value says that it belongs to another change",
        ),
    ] {
        let refusal = restore(key, value).err().unwrap().to_string();
        assert!(refusal.starts_with("table key, key "), "{refusal}");
        assert!(refusal.contains(why), "{refusal}");
    }
}
