//! Building an index from stored records.
//!
//! Records come in the order of revisions, but an index is built several times faster in the order
//! of keys. So records are sorted in batches that fit the processor's cache, while more are being
//! read, and the sorted batches are merged at the end.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;

use crate::history::KeyChange;
use crate::key_index::KeyIndex;
use crate::leaf::Leaf;
use crate::revision::FullRevision;
use crate::tree_index::TreeIndex;
use crate::version::KeyVersion;

/// How many records are sorted at a time: with 64-byte keys some 7 MiB.
const BATCH_RECORDS: usize = 1 << 16;
/// A batch ends with fewer records if their keys are long; well below what `u32` can count.
const BATCH_BYTES: usize = 32 << 20;

/// Collects stored records, then builds the index of them.
///
/// Several threads can each fill one; [`join`](Self::join) brings them together.
#[derive(Debug, Default)]
pub struct Restore {
    unsorted: Batch,
    sorted: Vec<Vec<Leaf>>,
}

impl Restore {
    /// A restore that has seen no record.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes a stored put.
    pub fn put(&mut self, key: &[u8], version: KeyVersion) {
        self.record(key, KeyChange::Put(version));
    }

    /// Takes a stored tombstone.
    pub fn tombstone(&mut self, key: &[u8], at: FullRevision) {
        self.record(key, KeyChange::Tombstone(at));
    }

    /// Takes over what another restore collected.
    pub fn join(&mut self, mut other: Self) {
        self.sorted.append(&mut other.sorted);
        self.sorted.push(other.unsorted.sort());
    }

    /// The index of all records.
    #[must_use]
    pub fn finish(mut self) -> TreeIndex {
        self.sorted.push(self.unsorted.sort());
        let merge = Merge {
            runs: self.sorted.into_iter().filter_map(Run::new).collect(),
        };
        TreeIndex::from_sorted(merge)
    }

    fn record(&mut self, key: &[u8], change: KeyChange) {
        self.unsorted.push(key, change);
        if self.unsorted.is_full() {
            self.sorted.push(self.unsorted.sort());
        }
    }
}

/// Records in the order they came.
#[derive(Debug, Default)]
struct Batch {
    bytes: Vec<u8>,
    records: Vec<Record>,
}

/// A change, and where in its batch's bytes the key is.
#[derive(Debug)]
struct Record {
    start: usize,
    end: usize,
    change: KeyChange,
}

impl Batch {
    fn push(&mut self, key: &[u8], change: KeyChange) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(key);
        self.records.push(Record {
            start,
            end: self.bytes.len(),
            change,
        });
    }

    fn is_full(&self) -> bool {
        self.records.len() >= BATCH_RECORDS || self.bytes.len() >= BATCH_BYTES
    }

    /// Takes all records out, as leaves in the order of keys.
    fn sort(&mut self) -> Vec<Leaf> {
        let Self { bytes, records } = self;
        let key = |record: &Record| bytes.split_at(record.end).0.split_at(record.start).1;
        records.sort_by(|a, b| key(a).cmp(key(b)));
        let of_keys = records.chunk_by(|a, b| key(a) == key(b));
        let mut changes = Vec::new();
        let indexes = of_keys.filter_map(|records| {
            changes.clear();
            changes.extend(records.iter().map(|record| record.change));
            Some((
                key(records.first()?),
                KeyIndex::from_unsorted(&mut changes)?,
            ))
        });
        let leaves = Leaf::build(indexes).collect();
        self.bytes.clear();
        self.records.clear();
        leaves
    }
}

/// The keys of several sorted runs, in order, each once.
struct Merge {
    runs: BinaryHeap<Run>,
}

impl Iterator for Merge {
    type Item = (Vec<u8>, KeyIndex);

    fn next(&mut self) -> Option<Self::Item> {
        let (key, mut index) = self.runs.peek_mut().map(Run::take)?;
        while let Some(run) = self.runs.peek_mut()
            && run.key() == key
        {
            let (_, more) = Run::take(run);
            let mut changes: Vec<KeyChange> = index.changes().chain(more.changes()).collect();
            #[expect(clippy::expect_used, reason = "two keys have changes")]
            let all = KeyIndex::from_unsorted(&mut changes).expect("there are changes");
            index = all;
        }
        Some((key, index))
    }
}

/// A sorted run of keys, at one of them; ordered so that a heap's greatest is at the least key.
struct Run {
    leaf: Leaf,
    place: usize,
    rest: std::vec::IntoIter<Leaf>,
}

impl Run {
    /// A run at its first key; `None` if it has none. No leaf is empty.
    fn new(leaves: Vec<Leaf>) -> Option<Self> {
        let mut rest = leaves.into_iter();
        Some(Self {
            leaf: rest.next()?,
            place: 0,
            rest,
        })
    }

    fn key(&self) -> &[u8] {
        self.leaf.key(self.place)
    }

    /// Takes the key that the run is at, and moves on; an exhausted run leaves the heap. A leaf
    /// is freed when its last key is taken, for the index to grow into.
    fn take(mut run: PeekMut<'_, Self>) -> (Vec<u8>, KeyIndex) {
        let taken = (run.key().to_vec(), run.leaf.index(run.place).clone());
        run.place += 1;
        if run.place == run.leaf.len() {
            match run.rest.next() {
                Some(leaf) => (run.leaf, run.place) = (leaf, 0),
                None => {
                    PeekMut::pop(run);
                }
            }
        }
        taken
    }
}

impl Ord for Run {
    fn cmp(&self, other: &Self) -> Ordering {
        other.key().cmp(self.key())
    }
}

impl PartialOrd for Run {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Run {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Run {}
