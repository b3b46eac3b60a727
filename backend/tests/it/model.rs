//! Random histories against maps that are simply cloned: P22 (etcd issue 17230) among all else that a
//! buffer over an engine can do wrong.

use std::collections::BTreeMap;
use std::ops::{Bound, ControlFlow};

use bytes::Bytes;
use cairn_backend::{
    Applied, Backend, Found, KeyBounds, MemoryEngine, Order, ReadError, ReadTx, Table,
};
use proptest::prelude::*;

use crate::engines::{Disk, LmdbDisk};
use crate::transfer::{chunks, receive};

type Model = BTreeMap<(Table, Vec<u8>), Vec<u8>>;

const TABLES: [Table; 3] = [Table::Key, Table::Meta, Table::AuthUsers];

/// A key and its value; `None` deletes.
type Write = (Table, Vec<u8>, Option<Vec<u8>>);

#[derive(Clone, Debug)]
enum Step {
    Batch(Vec<Write>),
    Commit,
    /// Opens a view and keeps it until the next crash.
    Hold,
    Defragment,
    /// Drops the backend and opens another.
    Crash,
    /// Installs the database of a leader that has applied these batches more.
    Install(Vec<Vec<Write>>),
}

fn any_key() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        8 => prop::collection::vec(0..4_u8, 1..3),
        1 => (0..3_u8).prop_map(|byte| vec![byte; cairn_backend::KEY_BYTES_MAX]),
    ]
}

fn any_value() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        8 => prop::collection::vec(any::<u8>(), 0..3),
        1 => (any::<u8>(), 2000..9000_usize).prop_map(|(byte, len)| vec![byte; len]),
    ]
}

fn any_batch() -> impl Strategy<Value = Vec<Write>> {
    let write = (
        prop::sample::select(&TABLES[..]),
        any_key(),
        prop::option::weighted(0.7, any_value()),
    );
    prop::collection::vec(write, 0..12)
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => any_batch().prop_map(Step::Batch),
        3 => Just(Step::Commit),
        2 => Just(Step::Hold),
        1 => Just(Step::Defragment),
        1 => Just(Step::Crash),
        1 => prop::collection::vec(any_batch(), 1..3).prop_map(Step::Install),
    ]
}

fn any_bounds() -> impl Strategy<Value = (Bound<Vec<u8>>, Bound<Vec<u8>>)> {
    let bound = || {
        prop_oneof![
            Just(Bound::Unbounded),
            any_key().prop_map(Bound::Included),
            any_key().prop_map(Bound::Excluded),
        ]
    };
    (bound(), bound())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_memory_backend_behaves_as_its_model(
        steps in prop::collection::vec(any_step(), 1..40),
        bounds in any_bounds(),
    ) {
        run(&MemoryEngine::new(), &steps, &bounds);
    }

    #[test]
    fn an_lmdb_backend_behaves_as_its_model(
        steps in prop::collection::vec(any_step(), 1..40),
        bounds in any_bounds(),
    ) {
        run(&LmdbDisk::new(), &steps, &bounds);
    }
}

fn run(disk: &dyn Disk, steps: &[Step], bounds: &(Bound<Vec<u8>>, Bound<Vec<u8>>)) {
    let bounds = (as_slice(&bounds.0), as_slice(&bounds.1));
    let mut backend = disk.open();
    let (mut ended, mut committed) = (Model::new(), Model::new());
    let mut held: Vec<(ReadTx, Model)> = Vec::new();
    let mut installs = 0;
    for step in steps {
        match step {
            Step::Batch(writes) => batch(&backend, writes, &mut ended, bounds),
            Step::Commit => {
                backend.commit().unwrap();
                committed.clone_from(&ended);
            }
            Step::Hold => held.push((backend.read().unwrap(), ended.clone())),
            Step::Defragment => backend.defragment().unwrap(),
            Step::Crash => {
                held.clear();
                drop(backend);
                backend = disk.open();
                ended.clone_from(&committed);
            }
            Step::Install(batches) => {
                installs += 1;
                install(&backend, batches, &mut ended, installs, bounds);
                committed.clone_from(&ended);
            }
        }
        check(&backend.read().unwrap(), &ended, bounds);
    }
    for (view, model) in &held {
        check(view, model, bounds);
    }
}

/// Makes a leader of what `follower` holds, moves it on, and installs its database.
fn install(
    follower: &Backend,
    batches: &[Vec<Write>],
    model: &mut Model,
    installs: u64,
    bounds: KeyBounds<'_>,
) {
    let apply = |backend: &Backend, index: u64, model: &mut Model| {
        let place = Applied { index, term: 1 };
        let mut batch = backend.write();
        place.write(&mut batch);
        batch.end().unwrap();
        for (key, number) in [("consistent_index", index), ("term", 1)] {
            let key = (Table::Meta, key.as_bytes().to_vec());
            model.insert(key, number.to_be_bytes().to_vec());
        }
    };
    let send = |from: &Backend, to: &Backend| {
        let received = receive(to, &chunks(from.send().unwrap())).unwrap();
        to.begin_install(received).unwrap().end();
    };
    let leader = MemoryEngine::new().open();
    apply(follower, 2 * installs, model);
    send(follower, &leader);
    for writes in batches {
        batch(&leader, writes, model, bounds);
    }
    apply(&leader, 2 * installs + 1, model);
    send(&leader, follower);
}

fn batch(backend: &Backend, writes: &[Write], model: &mut Model, bounds: KeyBounds<'_>) {
    let mut batch = backend.write();
    for (table, key, value) in writes {
        match value {
            Some(value) => {
                batch.put(*table, key, Bytes::copy_from_slice(value));
                model.insert((*table, key.clone()), value.clone());
            }
            None => {
                batch.delete(*table, key);
                model.remove(&(*table, key.clone()));
            }
        }
        let value = batch.get(*table, key).unwrap().map(|value| value.to_vec());
        assert_eq!(value.as_ref(), model.get(&(*table, key.clone())));
    }
    for table in TABLES {
        let mut found = Vec::new();
        batch
            .scan(table, bounds, &mut |key, value| {
                found.push((key.to_vec(), value.to_vec()));
                ControlFlow::Continue(())
            })
            .unwrap();
        assert_eq!(found, expected(model, table, bounds));
        check_many(model, table, |keys, found| {
            batch.get_many(table, keys, found)
        });
    }
    batch.end().unwrap();
}

fn check(view: &ReadTx, model: &Model, bounds: KeyBounds<'_>) {
    for table in TABLES {
        let mut wanted = expected(model, table, bounds);
        for order in [Order::Ascending, Order::Descending] {
            let mut found = Vec::new();
            view.scan_in(order, table, bounds, &mut |key, value| {
                found.push((key.to_vec(), value.to_vec()));
                ControlFlow::Continue(())
            })
            .unwrap();
            assert_eq!(found, wanted, "{order:?}");
            wanted.reverse();
        }
        check_many(model, table, |keys, found| {
            view.get_many(table, keys, found)
        });
    }
    for ((table, key), value) in model {
        assert!(
            view.get_with(*table, key, |found| found == value)
                .unwrap()
                .unwrap_or(false)
        );
    }
}

/// Reads every key that a step may have written, and the empty one.
fn check_many<'a>(
    model: &Model,
    table: Table,
    get_many: impl FnOnce(&[&[u8]], &mut Found<'_, 'a>) -> Result<(), ReadError>,
) {
    let short = (0..4_u8).flat_map(|a| [vec![a], vec![a, 0], vec![a, 1], vec![a, 2], vec![a, 3]]);
    let long = (0..3_u8).map(|byte| vec![byte; cairn_backend::KEY_BYTES_MAX]);
    let mut keys: Vec<Vec<u8>> = short.chain(long).chain([Vec::new()]).collect();
    keys.sort();
    let slices: Vec<&[u8]> = keys.iter().map(Vec::as_slice).collect();
    let mut found = vec![None; keys.len()];
    get_many(&slices, &mut |place, value| {
        let value = value.open(table, slices.get(place).unwrap()).unwrap();
        let before = found.get_mut(place).unwrap().replace(value.to_vec());
        assert_eq!(before, None, "found twice");
    })
    .unwrap();
    for (key, value) in keys.into_iter().zip(found) {
        assert_eq!(value.as_ref(), model.get(&(table, key)));
    }
}

fn expected(model: &Model, table: Table, bounds: KeyBounds<'_>) -> Vec<(Vec<u8>, Vec<u8>)> {
    let within = |key: &[u8]| {
        let above = match bounds.0 {
            Bound::Unbounded => true,
            Bound::Included(low) => key >= low,
            Bound::Excluded(low) => key > low,
        };
        let below = match bounds.1 {
            Bound::Unbounded => true,
            Bound::Included(high) => key <= high,
            Bound::Excluded(high) => key < high,
        };
        above && below
    };
    model
        .iter()
        .filter(|((of, key), _)| *of == table && within(key))
        .map(|((_, key), value)| (key.clone(), value.clone()))
        .collect()
}

fn as_slice(bound: &Bound<Vec<u8>>) -> Bound<&[u8]> {
    bound.as_ref().map(Vec::as_slice)
}
