//! What holds for a backend over any engine.

use std::ops::{Bound, ControlFlow};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use cairn_backend::{
    Applied, Backend, BackendOptions, Buffer, CommitError, DefragmentError, Engine, EngineSize,
    EngineSnapshot, Incoming, InstallError, MemoryEngine, OpenError, Order, PoisonHook, ReadError,
    ReceiveError, Table,
};

use crate::engines::{ALL, Disk, entries, on_each_engine};

fn put(backend: &Backend, table: Table, key: &str, value: &str) {
    let mut batch = backend.write();
    batch.put(
        table,
        key.as_bytes(),
        Bytes::copy_from_slice(value.as_bytes()),
    );
    batch.end().unwrap();
}

fn delete(backend: &Backend, table: Table, key: &str) {
    let mut batch = backend.write();
    batch.delete(table, key.as_bytes());
    batch.end().unwrap();
}

fn get(backend: &Backend, table: Table, key: &str) -> Option<String> {
    let value = backend.read().unwrap().get(table, key.as_bytes()).unwrap();
    value.map(|value| String::from_utf8(value.to_vec()).unwrap())
}

fn keys(backend: &Backend, table: Table) -> Vec<String> {
    let found = entries(&backend.read().unwrap(), table);
    found
        .into_iter()
        .map(|(key, _)| String::from_utf8(key).unwrap())
        .collect()
}

#[test]
fn a_batch_is_seen_when_it_ends_and_not_before() {
    on_each_engine(|disk| {
        let backend = disk.open();
        let mut batch = backend.write();
        batch.put(Table::Lease, b"a", Bytes::from_static(b"1"));
        assert_eq!(get(&backend, Table::Lease, "a"), None);
        assert_eq!(
            batch.get(Table::Lease, b"a").unwrap(),
            Some(Bytes::from_static(b"1"))
        );
        batch.end().unwrap();
        assert_eq!(get(&backend, Table::Lease, "a").as_deref(), Some("1"));
    });
}

#[test]
fn dropping_a_batch_ends_it() {
    on_each_engine(|disk| {
        let backend = disk.open();
        backend
            .write()
            .put(Table::Lease, b"a", Bytes::from_static(b"1"));
        assert_eq!(get(&backend, Table::Lease, "a").as_deref(), Some("1"));
    });
}

#[test]
fn what_was_not_committed_is_lost_with_the_backend() {
    on_each_engine(|disk| {
        let backend = disk.open();
        put(&backend, Table::Lease, "kept", "1");
        backend.commit().unwrap();
        put(&backend, Table::Lease, "lost", "1");
        delete(&backend, Table::Lease, "kept");
        drop(backend);
        let backend = disk.open();
        assert_eq!(keys(&backend, Table::Lease), ["kept"]);
    });
}

#[test]
fn tables_do_not_share_keys() {
    on_each_engine(|disk| {
        let backend = disk.open();
        for table in Table::ALL {
            put(&backend, table, "key", table.name());
        }
        for table in Table::ALL {
            assert_eq!(get(&backend, table, "key").as_deref(), Some(table.name()));
        }
        backend.commit().unwrap();
        for table in Table::ALL {
            assert_eq!(get(&backend, table, "key").as_deref(), Some(table.name()));
        }
    });
}

#[test]
fn a_scan_merges_what_is_buffered_over_what_is_committed() {
    on_each_engine(|disk| {
        let backend = disk.open();
        for key in ["a", "c", "e", "g"] {
            put(&backend, Table::Auth, key, "old");
        }
        backend.commit().unwrap();
        for key in ["b", "c", "h"] {
            put(&backend, Table::Auth, key, "new");
        }
        delete(&backend, Table::Auth, "e");
        delete(&backend, Table::Auth, "never there");
        assert_eq!(keys(&backend, Table::Auth), ["a", "b", "c", "g", "h"]);
        assert_eq!(get(&backend, Table::Auth, "c").as_deref(), Some("new"));
        assert_eq!(get(&backend, Table::Auth, "e"), None);

        let mut backwards = Vec::new();
        let bounds = (Bound::Excluded(&b"a"[..]), Bound::Included(&b"g"[..]));
        let view = backend.read().unwrap();
        view.scan_in(Order::Descending, Table::Auth, bounds, &mut |key, _| {
            backwards.push(key.to_vec());
            if key == b"b" {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        })
        .unwrap();
        assert_eq!(backwards, [b"g", b"c", b"b"]);
    });
}

#[test]
fn many_keys_are_found_however_far_apart_they_are() {
    on_each_engine(|disk| {
        let backend = disk.open();
        let key = |number: usize| format!("{number:05}");
        for number in (0..3000).step_by(3) {
            put(&backend, Table::Auth, &key(number), &key(number));
        }
        backend.commit().unwrap();
        for number in (0..3000).step_by(60) {
            delete(&backend, Table::Auth, &key(number));
            put(&backend, Table::Auth, &key(number + 3), "pending");
        }
        let view = backend.read().unwrap();
        let far_after_close = (0..1000).chain((1000..3000).step_by(101)).collect();
        let steps = [1, 2, 3, 5, 7, 24, 27, 30, 31, 100, 999];
        let even = steps.map(|step| (0..3000).step_by(step).collect());
        for numbers in even.into_iter().chain([far_after_close, Vec::new()]) {
            let keys: Vec<String> = numbers.into_iter().map(key).collect();
            let slices: Vec<&[u8]> = keys.iter().map(String::as_bytes).collect();
            let mut found = vec![None; keys.len()];
            view.get_many(Table::Auth, &slices, &mut |place, value| {
                let value = value.open(Table::Auth, slices[place]).unwrap();
                found[place] = Some(Bytes::copy_from_slice(value));
            })
            .unwrap();
            for (key, value) in keys.iter().zip(found) {
                assert_eq!(
                    value,
                    view.get(Table::Auth, key.as_bytes()).unwrap(),
                    "{key}"
                );
            }
        }
    });
}

#[test]
fn a_writer_scans_its_own_writes() {
    on_each_engine(|disk| {
        let backend = disk.open();
        put(&backend, Table::Auth, "a", "1");
        put(&backend, Table::Auth, "b", "1");
        backend.commit().unwrap();
        let mut batch = backend.write();
        batch.delete(Table::Auth, b"a");
        batch.put(Table::Auth, b"c", Bytes::from_static(b"2"));
        let mut found = Vec::new();
        batch
            .scan(Table::Auth, ALL, &mut |key, _| {
                found.push(key.to_vec());
                ControlFlow::Continue(())
            })
            .unwrap();
        assert_eq!(found, [b"b", b"c"]);
    });
}

#[test]
fn bounds_that_hold_nothing_are_empty_and_not_an_error() {
    on_each_engine(|disk| {
        let backend = disk.open();
        put(&backend, Table::Auth, "b", "1");
        backend.commit().unwrap();
        put(&backend, Table::Auth, "c", "1");
        let view = backend.read().unwrap();
        let (low, high) = (&b"b"[..], &b"c"[..]);
        for bounds in [
            (Bound::Included(high), Bound::Included(low)),
            (Bound::Excluded(low), Bound::Excluded(low)),
            (Bound::Included(low), Bound::Excluded(low)),
            (Bound::Unbounded, Bound::Excluded(&b""[..])),
            (Bound::Unbounded, Bound::Included(&b""[..])),
        ] {
            for order in [Order::Ascending, Order::Descending] {
                view.scan_in(order, Table::Auth, bounds, &mut |_, _| panic!("{bounds:?}"))
                    .unwrap();
            }
        }
        let mut found = 0;
        view.scan(
            Table::Auth,
            (Bound::Included(b""), Bound::Unbounded),
            &mut |_, _| {
                found += 1;
                ControlFlow::Continue(())
            },
        )
        .unwrap();
        assert_eq!(found, 2);
        assert_eq!(view.get(Table::Auth, b"").unwrap(), None);
    });
}

#[test]
fn a_view_stays_as_it_was_when_it_was_opened() {
    on_each_engine(|disk| {
        let backend = disk.open();
        put(&backend, Table::Meta, "a", "1");
        let buffered = backend.read().unwrap();
        backend.commit().unwrap();
        let committed = backend.read().unwrap();
        put(&backend, Table::Meta, "a", "2");
        put(&backend, Table::Meta, "b", "2");
        backend.commit().unwrap();
        backend.defragment().unwrap();
        for view in [&buffered, &committed] {
            assert_eq!(entries(view, Table::Meta), [(b"a".to_vec(), b"1".to_vec())]);
            assert_eq!(view.get_with(Table::Meta, b"b", <[u8]>::len).unwrap(), None);
        }
        assert_eq!(keys(&backend, Table::Meta), ["a", "b"]);
    });
}

#[test]
fn the_hash_tells_contents_and_tables_apart_but_not_buffer_from_engine() {
    on_each_engine(|disk| {
        let backend = disk.open();
        let empty = backend.hash().unwrap();
        put(&backend, Table::Lease, "a", "1");
        let in_lease = backend.hash().unwrap();
        assert_ne!(in_lease, empty);
        backend.commit().unwrap();
        assert_eq!(backend.hash().unwrap(), in_lease);
        delete(&backend, Table::Lease, "a");
        assert_eq!(backend.hash().unwrap(), empty);
        put(&backend, Table::Auth, "a", "1");
        assert_ne!(backend.hash().unwrap(), in_lease);
    });
}

#[test]
fn the_hash_of_an_empty_store_is_that_of_the_tables_names() {
    let names: Vec<u8> = Table::ALL
        .iter()
        .flat_map(|table| table.name().bytes())
        .collect();
    on_each_engine(|disk| {
        assert_eq!(disk.open().hash().unwrap(), crc32c::crc32c(&names));
    });
}

#[test]
fn the_hash_leaves_out_what_differs_between_members() {
    on_each_engine(|disk| {
        let backend = disk.open();
        let empty = backend.hash().unwrap();
        put(&backend, Table::Meta, "consistent_index", "17");
        assert_eq!(backend.hash().unwrap(), empty);
        put(&backend, Table::Meta, "scheduledCompactRev", "17");
        assert_ne!(backend.hash().unwrap(), empty);
    });
}

#[test]
fn the_committer_commits_without_being_asked_and_once_more_when_it_stops() {
    on_each_engine(|disk| {
        let options = BackendOptions {
            batch_ops_max: 2,
            ..BackendOptions::default()
        };
        let backend = disk.open_with(options);
        let committer = backend.spawn_committer(Duration::from_secs(3600)).unwrap();
        put(&backend, Table::Lease, "a", "1");
        put(&backend, Table::Lease, "b", "1");
        put(&backend, Table::Lease, "c", "1");
        drop(committer);
        drop(backend);
        assert_eq!(keys(&disk.open(), Table::Lease), ["a", "b", "c"]);
    });
}

#[test]
fn the_committer_tells_of_commits_that_had_something_to_commit() {
    on_each_engine(|disk| {
        let told = Arc::new(AtomicUsize::new(0));
        let counts = Arc::clone(&told);
        let options = BackendOptions {
            on_commit: Some(Arc::new(move |_| {
                counts.fetch_add(1, Ordering::Relaxed);
            })),
            ..BackendOptions::default()
        };
        let backend = disk.open_with(options);
        drop(backend.spawn_committer(Duration::from_secs(3600)).unwrap());
        assert_eq!(told.load(Ordering::Relaxed), 0);
        let committer = backend.spawn_committer(Duration::from_secs(3600));
        put(&backend, Table::Lease, "a", "1");
        drop(committer);
        assert_eq!(told.load(Ordering::Relaxed), 1);
    });
}

#[test]
fn sizes_follow_what_is_committed() {
    on_each_engine(|disk| {
        let backend = disk.open();
        let empty = backend.size_in_use();
        let value = "v".repeat(100_000);
        put(&backend, Table::Lease, "a", &value);
        put(&backend, Table::Lease, "a", &value);
        assert_eq!(backend.size_in_use(), empty, "nothing is committed");
        backend.commit().unwrap();
        let full = backend.size_in_use();
        assert!(
            (100_000..200_000).contains(&(full - empty)),
            "{empty} {full}"
        );
        put(&backend, Table::Lease, "a", &value);
        backend.commit().unwrap();
        assert_eq!(backend.size_in_use(), full, "a value replaces one as long");
        delete(&backend, Table::Lease, "a");
        backend.commit().unwrap();
        assert_eq!(backend.size_in_use(), empty);
        assert!(backend.size() >= backend.size_in_use());
    });
}

#[test]
fn a_writer_far_ahead_of_the_engine_commits_itself() {
    on_each_engine(|disk| {
        let options = BackendOptions {
            batch_ops_max: 1,
            ..BackendOptions::default()
        };
        let backend = disk.open_with(options);
        for key in ["a", "b", "c", "d", "e"] {
            put(&backend, Table::Lease, key, "1");
        }
        drop(backend);
        assert_eq!(keys(&disk.open(), Table::Lease), ["a", "b", "c", "d"]);
    });
}

#[test]
fn a_failed_commit_poisons_the_backend_and_tells_the_hook_once() {
    let told = Arc::new(AtomicUsize::new(0));
    let hook: PoisonHook = {
        let told = Arc::clone(&told);
        Arc::new(move |_| {
            told.fetch_add(1, Ordering::Relaxed);
        })
    };
    let disk = MemoryEngine::new();
    let options = BackendOptions {
        on_poison: Some(hook),
        ..BackendOptions::default()
    };
    let backend = disk.open_with(options);
    put(&backend, Table::Lease, "before", "1");
    disk.fail_next_commit();
    backend.commit().unwrap_err();
    assert!(matches!(
        *backend.poisoned().unwrap().cause,
        CommitError::Injected
    ));

    let mut batch = backend.write();
    batch.put(Table::Lease, b"after", Bytes::from_static(b"1"));
    batch.end().unwrap_err();
    backend.commit().unwrap_err();
    backend.defragment().unwrap_err();
    assert_eq!(
        keys(&backend, Table::Lease),
        ["before"],
        "reads go on, without what was refused"
    );
    assert_eq!(told.load(Ordering::Relaxed), 1);
    drop(backend);
    assert_eq!(
        keys(&disk.open(), Table::Lease),
        [""; 0],
        "nothing of the failed commit is there"
    );
}

#[test]
fn a_writer_that_panics_poisons_the_backend_and_its_half_batch_is_never_seen() {
    on_each_engine(|disk| {
        let backend = disk.open();
        let writer = std::panic::AssertUnwindSafe(|| {
            let mut batch = backend.write();
            batch.put(Table::Lease, b"half", Bytes::from_static(b"1"));
            batch.put(
                Table::Lease,
                b"",
                Bytes::from_static(b"a key that no table has"),
            );
        });
        std::panic::catch_unwind(writer).unwrap_err();
        assert!(matches!(
            *backend.poisoned().unwrap().cause,
            CommitError::WriterPanicked
        ));
        backend.commit().unwrap_err();
        assert_eq!(keys(&backend, Table::Lease), [""; 0]);
    });
}

/// An engine that does something each time before it opens a snapshot and after it has committed.
struct Meddling {
    disk: MemoryEngine,
    before_snapshot: Box<dyn Fn() + Send + Sync>,
    after_commit: Box<dyn Fn() + Send + Sync>,
}

impl Engine for Meddling {
    fn snapshot(&self) -> Result<Box<dyn EngineSnapshot>, ReadError> {
        (self.before_snapshot)();
        self.disk.snapshot()
    }

    fn commit(&self, batch: &Buffer) -> Result<(), CommitError> {
        self.disk.commit(batch)?;
        (self.after_commit)();
        Ok(())
    }

    fn size(&self) -> Result<EngineSize, ReadError> {
        self.disk.size()
    }

    fn defragment(&self) -> Result<(), DefragmentError> {
        self.disk.defragment()
    }

    fn receive(&self) -> Result<Box<dyn Incoming>, ReceiveError> {
        self.disk.receive()
    }

    fn received(&self) -> Vec<Applied> {
        self.disk.received()
    }

    fn read_received(
        &self,
        applied: Applied,
    ) -> Result<Option<Box<dyn EngineSnapshot>>, OpenError> {
        self.disk.read_received(applied)
    }

    fn install(&self, applied: Applied) -> Result<Arc<dyn Engine>, InstallError> {
        self.disk.install(applied)
    }

    fn discard_received(&self, applied: Applied) -> Result<(), OpenError> {
        self.disk.discard_received(applied)
    }
}

#[test]
fn a_view_starts_again_when_a_commit_comes_between_buffers_and_engine() {
    let meddled = Arc::new(OnceLock::<Backend>::new());
    let times = AtomicUsize::new(0);
    let before_snapshot = {
        let meddled = Arc::clone(&meddled);
        Box::new(move || {
            let Some(backend) = meddled.get() else { return };
            if times.fetch_add(1, Ordering::Relaxed) < 2 {
                put(backend, Table::Lease, "a", "new");
                put(backend, Table::Lease, "b", "new");
                backend.commit().unwrap();
            }
        })
    };
    let engine = Meddling {
        disk: MemoryEngine::new(),
        before_snapshot,
        after_commit: Box::new(|| {}),
    };
    let backend = Backend::open(engine, BackendOptions::default()).unwrap();
    put(&backend, Table::Lease, "a", "old");
    meddled.set(backend.clone()).unwrap();
    let view = backend.read().unwrap();
    let new = |key: &[u8]| (key.to_vec(), b"new".to_vec());
    assert_eq!(entries(&view, Table::Lease), [new(b"a"), new(b"b")]);
}

/// P7 (etcd issue 17247) and P22 (etcd issue 17230): what is in the engine and still in a buffer is read
/// once, and what a buffer deletes is not read, at every moment of a commit.
#[test]
fn p7_p22_an_entry_is_read_once_while_a_commit_moves_it() {
    let meddled = Arc::new(OnceLock::<Backend>::new());
    let looked = Arc::new(AtomicUsize::new(0));
    let look = {
        let (meddled, looked) = (Arc::clone(&meddled), Arc::clone(&looked));
        move || {
            let Some(backend) = meddled.get() else { return };
            assert_eq!(keys(backend, Table::Key), ["a", "c", "d"]);
            assert_eq!(get(backend, Table::Key, "a").as_deref(), Some("new"));
            assert_eq!(get(backend, Table::Key, "b"), None);
            let view = backend.read().unwrap();
            let mut found = Vec::new();
            let asked: [&[u8]; 4] = [b"a", b"b", b"c", b"d"];
            view.get_many(Table::Key, &asked, &mut |place, _| found.push(place))
                .unwrap();
            found.sort_unstable();
            assert_eq!(found, [0, 2, 3]);
            looked.fetch_add(1, Ordering::Relaxed);
        }
    };
    let engine = Meddling {
        disk: MemoryEngine::new(),
        before_snapshot: Box::new(|| {}),
        after_commit: Box::new(look.clone()),
    };
    let backend = Backend::open(engine, BackendOptions::default()).unwrap();
    put(&backend, Table::Key, "a", "old");
    put(&backend, Table::Key, "b", "old");
    backend.commit().unwrap();
    put(&backend, Table::Key, "a", "new");
    put(&backend, Table::Key, "c", "new");
    delete(&backend, Table::Key, "b");
    put(&backend, Table::Key, "d", "new");
    meddled.set(backend.clone()).unwrap();
    look();
    backend.commit().unwrap();
    look();
    assert_eq!(looked.load(Ordering::Relaxed), 3);
}
