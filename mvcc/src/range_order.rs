//! Sorting an answer, and keeping no more of it than its limit.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use cairn_index::KeyVersion;

use crate::range_query::{RangeQuery, SortOrder, SortTarget};

/// The best rows offered so far, in the order that a query asks for; equal ones stay in key order.
///
/// Invariant: `kept` holds no more rows than the limit, and none that was left out is better.
pub(crate) struct Best<'k> {
    target: SortTarget,
    direction: Direction,
    limit: usize,
    offered: usize,
    kept: BinaryHeap<Ranked<'k>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Direction {
    Up,
    Down,
}

/// What a row is sorted by.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Rank<'k> {
    Number(u64),
    Key(&'k [u8]),
    Value(Box<[u8]>),
}

/// A row in its place: rows that come first are less.
struct Ranked<'k> {
    rank: Rank<'k>,
    direction: Direction,
    place: usize,
    row: Row<'k>,
}

/// A row of the index.
#[derive(Clone, Copy)]
pub(crate) struct Row<'k> {
    pub(crate) key: &'k [u8],
    pub(crate) version: KeyVersion,
}

impl<'k> Best<'k> {
    pub(crate) fn new(query: &RangeQuery) -> Self {
        Self {
            target: query.target,
            direction: match query.order {
                SortOrder::None | SortOrder::Ascend => Direction::Up,
                SortOrder::Descend => Direction::Down,
            },
            limit: query.limit.map_or(usize::MAX, usize::from),
            offered: 0,
            kept: BinaryHeap::new(),
        }
    }

    /// Offers a row that is not sorted by value. Rows must be offered in key order.
    pub(crate) fn offer(&mut self, key: &'k [u8], version: KeyVersion) {
        let rank = match self.target {
            SortTarget::Version => Rank::Number(version.version.number()),
            SortTarget::Create => Rank::Number(version.created.number()),
            SortTarget::Modify => Rank::Number(version.modified.main.number()),
            SortTarget::Key | SortTarget::Value => Rank::Key(key),
        };
        self.insert(rank, key, version);
    }

    /// Offers a row that is sorted by its value, which is copied only if the row is kept.
    pub(crate) fn offer_value(&mut self, key: &'k [u8], version: KeyVersion, value: &[u8]) {
        let full = self.kept.len() >= self.limit;
        let worse_than_all = full
            && self.kept.peek().is_some_and(|worst| match &worst.rank {
                Rank::Value(worst) => self.direction.of(value.cmp(worst)) != Ordering::Less,
                Rank::Number(_) | Rank::Key(_) => false,
            });
        if worse_than_all {
            self.offered += 1;
        } else {
            self.insert(Rank::Value(value.into()), key, version);
        }
    }

    /// Whether the limit cut rows off.
    pub(crate) const fn more(&self) -> bool {
        self.offered > self.limit
    }

    /// The rows in order.
    pub(crate) fn into_rows(self) -> Vec<Row<'k>> {
        let sorted = self.kept.into_sorted_vec();
        sorted.into_iter().map(|ranked| ranked.row).collect()
    }

    fn insert(&mut self, rank: Rank<'k>, key: &'k [u8], version: KeyVersion) {
        self.kept.push(Ranked {
            rank,
            direction: self.direction,
            place: self.offered,
            row: Row { key, version },
        });
        self.offered += 1;
        if self.kept.len() > self.limit {
            self.kept.pop();
        }
    }
}

impl Direction {
    const fn of(self, ordering: Ordering) -> Ordering {
        match self {
            Self::Up => ordering,
            Self::Down => ordering.reverse(),
        }
    }
}

impl Ord for Ranked<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.direction
            .of(self.rank.cmp(&other.rank))
            .then(self.place.cmp(&other.place))
    }
}

impl PartialOrd for Ranked<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Ranked<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Ranked<'_> {}
