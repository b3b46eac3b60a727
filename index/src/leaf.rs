//! Some tens of neighbouring keys, packed together.
//!
//! A persistent map of single keys costs its node's unused places, and a copy of sixteen keys with
//! their reference counts at every write under a snapshot. So the map holds leaves, and a leaf its
//! keys' bytes one after the other: half the memory, and a copy is three straight ones.

use std::ops::{Bound, Range};
use std::sync::Arc;

use crate::key_index::KeyIndex;
use crate::revision::Revision;

/// A leaf with more keys is split. More make copies under a snapshot slower, fewer cost memory.
pub(crate) const LEAF_KEYS_MAX: usize = 64;
/// A leaf of two or more keys with more bytes is split, so that huge keys are not copied in dozens.
const LEAF_BYTES_MAX: usize = 16 << 10;
/// A leaf with fewer keys is merged into the one before, if there is room.
const LEAF_KEYS_MIN: usize = LEAF_KEYS_MAX / 4;
/// How full a leaf is built from sorted keys: room for some new keys before it splits.
const LEAF_KEYS_BUILT: usize = LEAF_KEYS_MAX / 4 * 3;
/// For how many more keys a leaf makes room when it has none left.
const ROOM_KEYS: usize = LEAF_KEYS_MAX / 8;

/// Neighbouring keys with their indexes, in key order; shared with snapshots until written to.
///
/// Invariants:
/// 1. Keys ascend strictly; there is one end and one index for each, and the last end is the
///    number of bytes.
/// 2. `live` is the number of keys whose last change is a put.
/// 3. `newest` is at or after every change of every key.
#[derive(Clone, Debug, Default)]
pub(crate) struct Leaf {
    packed: Arc<Packed>,
    live: usize,
    newest: Option<Revision>,
}

#[derive(Clone, Debug, Default)]
struct Packed {
    bytes: Vec<u8>,
    /// Where in `bytes` each key ends; it starts where the one before ends.
    ends: Vec<u32>,
    indexes: Vec<KeyIndex>,
}

impl Leaf {
    /// Adds a key that `find` did not find, at the place that it said.
    pub(crate) fn insert(&mut self, place: usize, key: &[u8], index: KeyIndex) {
        self.live += usize::from(index.latest().is_some());
        self.newest = self.newest.max(Some(index.newest()));
        Arc::make_mut(&mut self.packed).insert(place, key, index);
    }

    /// Changes the index of the key at `place`.
    pub(crate) fn update<R>(&mut self, place: usize, f: impl FnOnce(&mut KeyIndex) -> R) -> R {
        #[expect(clippy::indexing_slicing, reason = "places come from `find`")]
        let index = &mut Arc::make_mut(&mut self.packed).indexes[place];
        let was_live = usize::from(index.latest().is_some());
        let result = f(index);
        self.live = self.live + usize::from(index.latest().is_some()) - was_live;
        self.newest = self.newest.max(Some(index.newest()));
        result
    }

    /// Removes the key at `place`.
    pub(crate) fn remove(&mut self, place: usize) {
        let index = Arc::make_mut(&mut self.packed).remove(place);
        self.live -= usize::from(index.latest().is_some());
    }

    /// Splits a leaf that is too large: what is in the new one comes after what is left. A leaf
    /// that grew at its end is split near its end, so that ascending keys leave full leaves.
    pub(crate) fn split(&mut self, grown_at: usize) -> Option<Self> {
        let len = self.len();
        let too_large = len > LEAF_KEYS_MAX || self.packed.bytes.len() > LEAF_BYTES_MAX;
        if len < 2 || !too_large {
            return None;
        }
        let place = if grown_at + 1 == len {
            len - 1
        } else {
            len / 2
        };
        let right = Self::of(Arc::make_mut(&mut self.packed).split_off(place));
        self.live -= right.live;
        Some(right)
    }

    /// Takes in the keys of the leaf after this one.
    pub(crate) fn append(&mut self, next: &Self) {
        let packed = Arc::make_mut(&mut self.packed);
        for place in 0..next.len() {
            packed.insert(
                packed.ends.len(),
                next.key(place),
                next.index(place).clone(),
            );
        }
        self.live += next.live;
        self.newest = self.newest.max(next.newest);
    }

    /// Leaves of keys in ascending order.
    pub(crate) fn build(
        keys: impl IntoIterator<Item = (impl AsRef<[u8]>, KeyIndex)>,
    ) -> impl Iterator<Item = Self> {
        let mut keys = keys.into_iter();
        let mut bytes = Vec::new();
        std::iter::from_fn(move || {
            let mut ends = Vec::with_capacity(LEAF_KEYS_BUILT);
            let mut indexes = Vec::with_capacity(LEAF_KEYS_BUILT);
            bytes.clear();
            while ends.len() < LEAF_KEYS_BUILT
                && bytes.len() < LEAF_BYTES_MAX
                && let Some((key, index)) = keys.next()
            {
                bytes.extend_from_slice(key.as_ref());
                ends.push(end(bytes.len()));
                indexes.push(index);
            }
            let bytes = bytes.as_slice().into();
            (!ends.is_empty()).then(|| {
                Self::of(Packed {
                    bytes,
                    ends,
                    indexes,
                })
            })
        })
    }

    fn of(packed: Packed) -> Self {
        let live = packed
            .indexes
            .iter()
            .filter(|index| index.latest().is_some())
            .count();
        let newest = packed.indexes.iter().map(KeyIndex::newest).max();
        Self {
            packed: Arc::new(packed),
            live,
            newest,
        }
    }

    /// How many keys there are.
    pub(crate) fn len(&self) -> usize {
        self.packed.ends.len()
    }

    /// How many keys are live after the last write.
    pub(crate) const fn live(&self) -> usize {
        self.live
    }

    /// Whether the leaf is small enough to be merged into the one before.
    pub(crate) fn is_small(&self) -> bool {
        self.len() < LEAF_KEYS_MIN
    }

    /// Whether the keys of the leaf after this one fit in it as well.
    pub(crate) fn has_room_for(&self, next: &Self) -> bool {
        let bytes = self.packed.bytes.len() + next.packed.bytes.len();
        let fits = self.len() + next.len() <= LEAF_KEYS_MAX && bytes <= LEAF_BYTES_MAX;
        fits || next.len() == 0
    }

    /// The first key and the last; `None` in a leaf without keys.
    pub(crate) fn ends(&self) -> Option<(&[u8], &[u8])> {
        let last = self.len().checked_sub(1)?;
        Some((self.key(0), self.key(last)))
    }

    /// The place of a key, or where it would be inserted.
    pub(crate) fn find(&self, key: &[u8]) -> Result<usize, usize> {
        let place = self.first_place(|other| other >= key);
        if place < self.len() && self.key(place) == key {
            Ok(place)
        } else {
            Err(place)
        }
    }

    /// What is known of a key.
    pub(crate) fn get(&self, key: &[u8]) -> Option<&KeyIndex> {
        Some(self.index(self.find(key).ok()?))
    }

    /// The keys within bounds, in order.
    pub(crate) fn range<'a>(
        &'a self,
        bounds: (Bound<&[u8]>, Bound<&[u8]>),
    ) -> impl Iterator<Item = (&'a [u8], &'a KeyIndex)> + use<'a> {
        self.places(bounds)
            .map(|place| (self.key(place), self.index(place)))
    }

    /// How many keys within bounds a read at `at` finds.
    pub(crate) fn count_within(&self, bounds: (Bound<&[u8]>, Bound<&[u8]>), at: Revision) -> usize {
        let places = self.places(bounds);
        if places.len() == self.len() {
            return self.count(at);
        }
        places
            .filter(|place| self.index(*place).is_live(at))
            .count()
    }

    /// How many keys a read at `at` finds; O(1) if nothing changed since.
    pub(crate) fn count(&self, at: Revision) -> usize {
        if self.newest.is_none_or(|newest| newest <= at) {
            return self.live;
        }
        self.packed
            .indexes
            .iter()
            .filter(|index| index.is_live(at))
            .count()
    }

    fn places(&self, (start, end): (Bound<&[u8]>, Bound<&[u8]>)) -> Range<usize> {
        let Some((first, last)) = self.ends() else {
            return 0..0;
        };
        let lo = match start {
            Bound::Included(start) if first < start => self.first_place(|key| key >= start),
            Bound::Excluded(start) if first <= start => self.first_place(|key| key > start),
            _ => 0,
        };
        let hi = match end {
            Bound::Included(end) if last > end => self.first_place(|key| key > end),
            Bound::Excluded(end) if last >= end => self.first_place(|key| key >= end),
            _ => self.len(),
        };
        lo..hi.max(lo)
    }

    /// The first place whose key `is_after`, which holds for no key before one it does not hold for.
    fn first_place(&self, is_after: impl Fn(&[u8]) -> bool) -> usize {
        let (mut lo, mut hi) = (0, self.len());
        while lo < hi {
            let middle = lo.midpoint(hi);
            if is_after(self.key(middle)) {
                hi = middle;
            } else {
                lo = middle + 1;
            }
        }
        lo
    }

    /// The key at `place`.
    pub(crate) fn key(&self, place: usize) -> &[u8] {
        self.packed.key(place)
    }

    /// The index of the key at `place`.
    pub(crate) fn index(&self, place: usize) -> &KeyIndex {
        self.packed.index(place)
    }

    /// Checks the invariants; panics if one is broken.
    pub(crate) fn check_invariants(&self) {
        let Packed {
            bytes,
            ends,
            indexes,
        } = self.packed.as_ref();
        assert_eq!(ends.len(), indexes.len(), "1");
        assert_eq!(ends.last().copied().unwrap_or(0), end(bytes.len()), "1");
        assert!(
            (1..self.len()).all(|place| self.key(place - 1) < self.key(place)),
            "1"
        );
        let live = indexes
            .iter()
            .filter(|index| index.latest().is_some())
            .count();
        assert_eq!(live, self.live, "2");
        assert!(
            indexes
                .iter()
                .all(|index| Some(index.newest()) <= self.newest),
            "3"
        );
    }
}

impl Packed {
    fn insert(&mut self, place: usize, key: &[u8], index: KeyIndex) {
        if self.ends.len() == self.ends.capacity() {
            self.ends.reserve_exact(ROOM_KEYS);
            self.indexes.reserve_exact(ROOM_KEYS);
        }
        if self.bytes.len() + key.len() > self.bytes.capacity() {
            self.bytes.reserve_exact(ROOM_KEYS * key.len());
        }
        let start = self.start(place);
        self.bytes.splice(start..start, key.iter().copied());
        let grown = end(key.len());
        self.ends.insert(place, end(start));
        self.ends
            .iter_mut()
            .skip(place)
            .for_each(|end| *end += grown);
        self.indexes.insert(place, index);
    }

    fn remove(&mut self, place: usize) -> KeyIndex {
        let start = self.start(place);
        let shrunk = end(self.key(place).len());
        self.bytes.drain(start..start + shrunk as usize);
        self.ends.remove(place);
        self.ends
            .iter_mut()
            .skip(place)
            .for_each(|end| *end -= shrunk);
        self.indexes.remove(place)
    }

    fn split_off(&mut self, place: usize) -> Self {
        let start = self.start(place);
        let shift = end(start);
        let bytes = self.bytes.split_off(start);
        let mut ends = self.ends.split_off(place);
        ends.iter_mut().for_each(|end| *end -= shift);
        let indexes = self.indexes.split_off(place);
        self.bytes.shrink_to(start + start / 8);
        self.ends.shrink_to(place + ROOM_KEYS);
        self.indexes.shrink_to(place + ROOM_KEYS);
        Self {
            bytes,
            ends,
            indexes,
        }
    }

    fn start(&self, place: usize) -> usize {
        let before = place
            .checked_sub(1)
            .and_then(|before| self.ends.get(before));
        before.map_or(0, |end| *end as usize)
    }

    #[expect(clippy::indexing_slicing, reason = "invariant 1")]
    fn key(&self, place: usize) -> &[u8] {
        &self.bytes[self.start(place)..self.ends[place] as usize]
    }

    #[expect(clippy::indexing_slicing, reason = "invariant 1")]
    fn index(&self, place: usize) -> &KeyIndex {
        &self.indexes[place]
    }
}

/// A place in a leaf's bytes. No key is near 4 GiB, and a leaf with two is split beyond 16 KiB.
#[expect(
    clippy::expect_used,
    reason = "no message that brings a key is as large as that"
)]
fn end(place: usize) -> u32 {
    u32::try_from(place).expect("a leaf's keys are under 4 GiB")
}
