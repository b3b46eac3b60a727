//! A database that goes from one backend to another.

use std::ops::ControlFlow;

use bytes::Bytes;
use cairn_backend::{
    Applied, Backend, CHUNK_BYTES, MemoryEngine, ReadTx, ReceiveError, SnapshotError,
    SnapshotSender, Table, TransferError,
};
use proptest::prelude::*;

use crate::engines::{ALL, Disk, LmdbDisk, entries, on_each_engine, revision_key};

pub(crate) fn applied(index: u64) -> Applied {
    Applied { index, term: 1 }
}

/// Writes a revision of `value_bytes`, a lease, and what they stand for.
pub(crate) fn write(backend: &Backend, index: u64, value_bytes: usize) {
    let mut batch = backend.write();
    let value = Bytes::from(vec![7; value_bytes]);
    batch.put(Table::Key, &revision_key(index), value);
    batch.put(Table::Lease, b"last", Bytes::from(index.to_string()));
    applied(index).write(&mut batch);
    batch.end().unwrap();
}

/// All chunks of what is sent.
pub(crate) fn chunks(mut sender: SnapshotSender) -> Vec<Bytes> {
    std::iter::from_fn(|| sender.next_chunk().unwrap()).collect()
}

/// Takes all chunks in.
pub(crate) fn receive(backend: &Backend, chunks: &[Bytes]) -> Result<Applied, ReceiveError> {
    let mut receiver = backend.receive()?;
    for chunk in chunks {
        receiver.write(chunk)?;
    }
    receiver.finish()
}

/// What all tables hold.
pub(crate) fn everything(view: &ReadTx) -> Vec<(Table, Vec<u8>, Vec<u8>)> {
    let of_table = |table| {
        let entries = entries(view, table).into_iter();
        entries.map(move |(key, value)| (table, key, value))
    };
    Table::ALL.into_iter().flat_map(of_table).collect()
}

#[test]
fn what_is_received_is_what_was_sent_with_all_that_was_buffered() {
    on_each_engine(|from| {
        on_each_engine(|to| {
            let leader = from.open();
            write(&leader, 1, 10);
            leader.commit().unwrap();
            write(&leader, 2, CHUNK_BYTES - 100);
            write(&leader, 3, 3 * CHUNK_BYTES);
            assert!(!leader.is_sending());
            let sender = leader.send().unwrap();
            assert!(leader.is_sending());
            let sent = everything(sender.view());
            assert_eq!(sender.applied(), applied(3));
            write(&leader, 4, 10);
            leader.commit().unwrap();

            let follower = to.open();
            let chunks = chunks(sender);
            assert!(!leader.is_sending());
            assert_eq!(receive(&follower, &chunks).unwrap(), applied(3));
            assert_eq!(follower.received(), [applied(3)]);
            let received = follower.read_received(applied(3)).unwrap().unwrap();
            assert_eq!(everything(&received), sent);
            assert!(follower.read_received(applied(4)).unwrap().is_none());
            assert_eq!(everything(&follower.read().unwrap()), []);
            assert!(chunks.iter().all(|chunk| chunk.len() < 4 * CHUNK_BYTES));
        });
    });
}

#[test]
fn a_chunk_holds_many_rows_or_one_that_is_longer() {
    let leader = MemoryEngine::new().open();
    for index in 1..=3000 {
        write(&leader, index, 1000);
    }
    let chunks = chunks(leader.send().unwrap());
    assert_eq!(
        chunks.len(),
        1 + 3 + 1 + 1 + 1,
        "key, lease and meta between the ends"
    );
    assert!(chunks.iter().all(|chunk| chunk.len() <= CHUNK_BYTES + 512));
}

#[test]
fn nothing_is_sent_before_anything_is_applied() {
    on_each_engine(|disk| {
        let error = disk.open().send().unwrap_err();
        assert!(matches!(error, SnapshotError::NothingApplied), "{error}");
    });
}

#[test]
fn a_receiver_takes_every_chunk_once_and_in_its_place() {
    on_each_engine(|disk| {
        let leader = MemoryEngine::new().open();
        write(&leader, 1, 10);
        let whole = chunks(leader.send().unwrap());
        let follower = disk.open();
        for at in 0..whole.len() {
            let mut missing = whole.clone();
            missing.remove(at);
            receive(&follower, &missing).unwrap_err();
            let mut twice = whole.clone();
            twice.insert(at, whole[at].clone());
            receive(&follower, &twice).unwrap_err();
            receive(&follower, &whole[..at]).unwrap_err();
        }
        assert_eq!(follower.received(), []);
        receive(&follower, &whole).unwrap();
    });
}

#[test]
fn a_receiver_that_has_failed_takes_nothing_more() {
    let leader = MemoryEngine::new().open();
    write(&leader, 1, 10);
    let whole = chunks(leader.send().unwrap());
    let follower = MemoryEngine::new().open();
    let mut receiver = follower.receive().unwrap();
    assert_eq!(receiver.header(), None);
    receiver.write(&whole[0]).unwrap();
    assert_eq!(receiver.header().unwrap().applied, applied(1));
    receiver.write(b"rubbish").unwrap_err();
    for chunk in &whole[1..] {
        receiver.write(chunk).unwrap_err();
    }
    assert!(matches!(
        receiver.finish().unwrap_err(),
        ReceiveError::Transfer(TransferError::Incomplete)
    ));
}

#[test]
fn what_was_not_received_whole_is_gone() {
    let leader = MemoryEngine::new().open();
    write(&leader, 1, 10);
    let whole = chunks(leader.send().unwrap());
    let disk = LmdbDisk::new();
    let names = || {
        let entries = std::fs::read_dir(disk.path()).unwrap();
        let mut names: Vec<_> = entries.map(|it| it.unwrap().file_name()).collect();
        names.sort();
        names
    };
    let follower = disk.open();
    let mut receiver = follower.receive().unwrap();
    receiver.write(&whole[0]).unwrap();
    receiver.write(&whole[1]).unwrap();
    assert_eq!(names(), ["db", "db.receiving-0"]);
    drop(receiver);
    assert_eq!(names(), ["db"]);

    // A killed process drops nothing.
    std::fs::write(disk.path().join("db.receiving-7"), b"half").unwrap();
    std::fs::write(disk.path().join("db.receiving-7-lock"), b"").unwrap();
    std::fs::write(disk.path().join("db.received-rubbish"), b"").unwrap();
    drop(follower);
    let follower = disk.open();
    assert_eq!(names(), ["db"]);
    receive(&follower, &whole).unwrap();
    assert_eq!(
        names(),
        ["db", "db.received-0000000000000001-0000000000000001"]
    );
}

#[test]
fn what_was_received_whole_outlives_a_crash_until_it_is_overtaken() {
    on_each_engine(|disk| {
        let leader = MemoryEngine::new().open();
        write(&leader, 5, 10);
        let older = chunks(leader.send().unwrap());
        write(&leader, 9, 10);
        let newer = chunks(leader.send().unwrap());
        let follower = disk.open();
        receive(&follower, &newer).unwrap();
        receive(&follower, &older).unwrap();
        drop(follower);

        let follower = disk.open();
        assert_eq!(follower.received(), [applied(5), applied(9)]);
        let received = follower.read_received(applied(5)).unwrap().unwrap();
        let mut keys = 0;
        received
            .scan(Table::Key, ALL, &mut |_, _| {
                keys += 1;
                ControlFlow::Continue(())
            })
            .unwrap();
        assert_eq!(keys, 1);
        drop(received);
        write(&follower, 6, 10);
        follower.commit().unwrap();
        drop(follower);

        let follower = disk.open();
        assert_eq!(follower.received(), [applied(9)]);
        follower.discard_received(applied(9)).unwrap();
        assert_eq!(follower.received(), []);
        drop(follower);
        assert_eq!(disk.open().received(), []);
    });
}

#[test]
fn what_is_received_and_never_installed_or_discarded_is_bounded() {
    on_each_engine(|disk| {
        let leader = MemoryEngine::new().open();
        let follower = disk.open();
        let next = |index| {
            write(&leader, index, 10);
            receive(&follower, &chunks(leader.send().unwrap()))
        };
        for index in 1..=4 {
            next(index).unwrap();
        }
        let refused = next(5).unwrap_err();
        assert!(matches!(refused, ReceiveError::TooMany), "{refused}");
        follower.discard_received(applied(2)).unwrap();
        next(6).unwrap();
        assert_eq!(follower.received(), [1, 3, 4, 6].map(applied));
        follower.begin_install(applied(4)).unwrap().end();
        assert_eq!(follower.received(), [applied(6)]);
    });
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// A peer may send anything, with a good checksum too: it is refused, or it is a database.
    #[test]
    fn whatever_comes_is_refused_or_received_as_it_is(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        cut in prop::option::weighted(0.2, any::<prop::sample::Index>()),
    ) {
        let leader = MemoryEngine::new().open();
        write(&leader, 1, 3);
        let mut bodies: Vec<Vec<u8>> = chunks(leader.send().unwrap())
            .iter()
            .map(|chunk| chunk[4..].to_vec())
            .collect();
        for (at, byte) in &changes {
            let lengths: usize = bodies.iter().map(Vec::len).sum();
            let mut at = at.index(lengths);
            for body in &mut bodies {
                if let Some(slot) = body.get_mut(at) {
                    *slot = *byte;
                    break;
                }
                at -= body.len();
            }
        }
        if let Some(cut) = cut {
            let last = bodies.last_mut().unwrap();
            last.truncate(cut.index(last.len()));
        }
        let mut checksum = 0;
        let forged: Vec<Bytes> = bodies
            .iter()
            .map(|body| {
                checksum = crc32c::crc32c_append(checksum, body);
                [&checksum.to_be_bytes(), body.as_slice()].concat().into()
            })
            .collect();
        let follower = MemoryEngine::new().open();
        if let Ok(received) = receive(&follower, &forged) {
            follower.begin_install(received).unwrap().end();
            let view = follower.read().unwrap();
            assert_eq!(Applied::read(&view).unwrap(), received);
            assert_eq!(everything(&view).len(), 4);
        } else {
            assert_eq!(follower.received(), []);
        }
    }
}
