//! The index against the naive model, under random writes, compactions and snapshots.

use std::ops::Range;

use bytes::Bytes;
use cairn_index::{KeyChange, KeyRange, Restore, Revision, TreeIndex};
use proptest::prelude::*;

use crate::model::Model;

/// Enough for leaves to split and merge.
const KEYS: usize = 400;

#[derive(Clone, Debug)]
enum Step {
    /// One transaction that puts these keys.
    Put(Range<usize>),
    /// One transaction that deletes these keys, as far as they are live.
    Delete(Range<usize>),
    /// One transaction that puts one key as often as said, and deletes it if it is odd.
    Churn(usize, u64),
    /// A compaction, at a part of the way from the last to now, with one write after each chunk.
    Compact { percent: u64, chunk: usize },
    /// A snapshot, looked at when all is done.
    Snapshot,
}

fn key(number: usize) -> Vec<u8> {
    // Some share long beginnings, some are longer than what is held in place.
    let mut key = format!("key/{:03}", number * 7919 % KEYS).into_bytes();
    key.resize(key.len() + number % 5 * 16, b'x');
    key
}

fn keys() -> impl Strategy<Value = Range<usize>> {
    let lengths = prop_oneof![4 => 1_usize..4, 2 => 4_usize..120, 1 => Just(KEYS)];
    (0..KEYS, lengths).prop_map(|(start, len)| start..(start + len).min(KEYS))
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => keys().prop_map(Step::Put),
        4 => keys().prop_map(Step::Delete),
        2 => (0..KEYS, 0_u64..40).prop_map(|(key, times)| Step::Churn(key, times)),
        2 => (0_u64..=100, 1_usize..200)
            .prop_map(|(percent, chunk)| Step::Compact { percent, chunk }),
        1 => Just(Step::Snapshot),
    ]
}

struct World {
    index: TreeIndex,
    model: Model,
    snapshots: Vec<(TreeIndex, Model)>,
}

impl World {
    fn new() -> Self {
        Self {
            index: TreeIndex::new(),
            model: Model::new(),
            snapshots: Vec::new(),
        }
    }

    fn run(&mut self, step: &Step) {
        match step {
            Step::Put(keys) => {
                self.model.begin();
                for (sub, number) in (0..).zip(keys.clone()) {
                    self.put(number, sub);
                }
            }
            Step::Delete(keys) => {
                self.model.begin();
                for (sub, number) in (0..).zip(keys.clone()) {
                    self.delete(number, sub);
                }
            }
            Step::Churn(number, times) => {
                self.model.begin();
                (0..*times).for_each(|sub| self.put(*number, sub));
                if times % 2 == 1 {
                    self.delete(*number, *times);
                }
            }
            Step::Compact { percent, chunk } => self.compact(*percent, *chunk),
            Step::Snapshot => self
                .snapshots
                .push((self.index.clone(), self.model.clone())),
        }
        self.index.check_invariants();
    }

    fn put(&mut self, number: usize, sub: u64) {
        let (key, at) = (key(number), self.model.at(sub));
        let previous = self.model.get(&key, at.main);
        let place = self.index.put(&key, at);
        assert_eq!(
            (place.previous, place.now),
            (previous, self.model.put(&key, at))
        );
    }

    fn delete(&mut self, number: usize, sub: u64) {
        let (key, at) = (key(number), self.model.at(sub));
        assert_eq!(
            self.index.tombstone(&key, at),
            self.model.tombstone(&key, at)
        );
    }

    fn compact(&mut self, percent: u64, keys_max: usize) {
        let (first, current) = (self.model.readable().next().unwrap(), self.model.current());
        let distance = (current.number() - first.number()) * percent / 100;
        let at = Revision::new(first.number() + distance).unwrap();
        let expected = self.model.kept(at.number());
        let mut left = self.model.stored();
        let snapshot = self.index.clone();
        let mut resume = None;
        loop {
            let chunk = snapshot.plan_compaction(at, resume.as_ref(), keys_max);
            chunk
                .keys
                .iter()
                .for_each(|key| self.index.compact_key(key, at));
            left.retain(|(_, change)| !chunk.dropped.contains(change));
            resume = chunk.resume;
            if resume.is_none() {
                break;
            }
            self.model.begin();
            self.put(keys_max, 0);
        }
        self.model.compact(at);
        assert_eq!(left, expected, "what the plan leaves");
    }
}

fn check_reads(index: &TreeIndex, model: &Model) {
    for at in model.readable() {
        let expected = model.range(at);
        let found = index.range(&KeyRange::All, at);
        let found: Vec<_> = found
            .map(|(key, version)| (key.to_vec(), version))
            .collect();
        assert_eq!(found, expected, "range at {at}");
        assert_eq!(
            index.count(&KeyRange::All, at),
            expected.len() as u64,
            "count at {at}"
        );
        for number in (0..KEYS).step_by(37) {
            let (start, end) = (key(number), key((number * 13 + 5) % KEYS));
            assert_eq!(index.get(&start, at), model.get(&start, at));
            assert_eq!(index.since(&start, at), model.since(&start, at));
            let from = KeyRange::From(Bytes::from(start.clone()));
            let after = from.after(&start);
            let span = KeyRange::Span {
                start: start.into(),
                end: end.into(),
            };
            for range in [from, after, span] {
                let expected = expected.iter().filter(|(key, _)| range.contains(key));
                let expected: Vec<_> = expected.map(|(key, found)| (&**key, *found)).collect();
                assert_eq!(
                    index.range(&range, at).collect::<Vec<_>>(),
                    expected,
                    "{range:?}"
                );
                assert_eq!(index.count(&range, at), expected.len() as u64, "{range:?}");
            }
        }
    }
}

/// Keep-sets at the compacted revision and above say what a compaction there would leave.
fn check_keep_sets(index: &TreeIndex, model: &Model) {
    for at in model.readable().filter(|at| *at <= model.current()) {
        let (keep, hashed) = (index.keep(at), index.keep_for_hash(at));
        let kept = model.kept(at.number());
        let not_later = kept.iter().filter(|(_, change)| change.at().main <= at);
        assert_eq!(keep.len(), not_later.count() as u64);
        for (_, change) in model.stored() {
            let is_kept = kept.iter().any(|(_, kept)| *kept == change);
            assert_eq!(
                keep.contains(change.at()),
                is_kept,
                "{change:?} kept at {at}"
            );
            let is_hashed = is_kept && (change.version().is_some() || change.at().main > at);
            assert_eq!(
                hashed.contains(change.at()),
                is_hashed,
                "{change:?} hashed at {at}"
            );
        }
    }
}

/// Restores what the model has stored, as two readers that take turns would feed it.
fn restored(model: &Model, turn: usize) -> TreeIndex {
    let (mut even, mut odd) = (Restore::new(), Restore::new());
    for (number, (key, change)) in model.stored().into_iter().enumerate() {
        let restore = if (number / turn).is_multiple_of(2) {
            &mut even
        } else {
            &mut odd
        };
        match change {
            KeyChange::Put(version) => restore.put(&key, version),
            KeyChange::Tombstone(at) => restore.tombstone(&key, at),
        }
    }
    even.join(odd);
    even.finish()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn every_read_says_what_the_history_says(steps in prop::collection::vec(step(), 1..24)) {
        let mut world = World::new();
        steps.iter().for_each(|step| world.run(step));
        check_reads(&world.index, &world.model);
        check_keep_sets(&world.index, &world.model);
    }

    #[test]
    fn snapshots_see_nothing_of_later_writes_and_compactions(
        steps in prop::collection::vec(step(), 1..40),
    ) {
        let mut world = World::new();
        steps.iter().for_each(|step| world.run(step));
        for (index, model) in &world.snapshots {
            index.check_invariants();
            check_reads(index, model);
        }
    }

    #[test]
    fn a_restored_index_equals_the_one_that_was_written(
        steps in prop::collection::vec(step(), 1..24),
        more in prop::collection::vec(step(), 1..8),
        turn in prop_oneof![1_usize..20, Just(usize::MAX)],
    ) {
        let mut world = World::new();
        steps.iter().for_each(|step| world.run(step));
        let restored = restored(&world.model, turn);
        restored.check_invariants();
        assert_eq!(restored, world.index);
        assert_eq!(restored.live(), world.index.live());
        world.index = restored;
        more.iter().for_each(|step| world.run(step));
        check_reads(&world.index, &world.model);
    }
}
