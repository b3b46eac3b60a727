//! One ordered view of an engine's entries below two layers of pending writes.

use std::cmp::Ordering;
use std::iter::Peekable;

use crate::buffer::{Buffer, PendingEntry};
use crate::engine::{self, EngineSnapshot, KeyBounds, Order, Visit};
use crate::error::ReadError;
use crate::table::Table;

/// Visits the entries of `table` as if `lower`, then `upper`, were written into `snapshot`.
pub(crate) fn scan(
    [upper, lower]: [Option<&Buffer>; 2],
    snapshot: &dyn EngineSnapshot,
    table: Table,
    bounds: KeyBounds<'_>,
    order: Order,
    visit: &mut Visit<'_>,
) -> Result<(), ReadError> {
    if engine::is_empty(bounds) {
        return Ok(());
    }
    let mut pending = Layers {
        upper: upper.map(|buffer| buffer.scan(table, bounds, order).peekable()),
        lower: lower.map(|buffer| buffer.scan(table, bounds, order).peekable()),
        order,
    }
    .peekable();
    let mut stored = snapshot.scan(table, bounds, order)?.peekable();
    loop {
        let first = match (pending.peek(), stored.peek()) {
            (None, None) => return Ok(()),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) | (Some(_), Some(Err(_))) => Ordering::Greater,
            (Some((over, _)), Some(Ok((under, _)))) => order.compare(over, under),
        };
        if first == Ordering::Equal {
            stored.next();
        }
        let entry = match first {
            Ordering::Less | Ordering::Equal => pending
                .next()
                .and_then(|(key, value)| Some((key, value?.as_ref()))),
            Ordering::Greater => stored.next().transpose()?,
        };
        if let Some((key, value)) = entry
            && visit(key, value).is_break()
        {
            return Ok(());
        }
    }
}

type PendingIter<'a> = Peekable<Box<dyn Iterator<Item = PendingEntry<'a>> + 'a>>;

/// Two layers of pending writes as one: where both have a key, the upper counts.
struct Layers<'a> {
    upper: Option<PendingIter<'a>>,
    lower: Option<PendingIter<'a>>,
    order: Order,
}

impl<'a> Iterator for Layers<'a> {
    type Item = PendingEntry<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        let (upper, lower) = match (&mut self.upper, &mut self.lower) {
            (Some(upper), Some(lower)) => (upper, lower),
            (Some(only), None) | (None, Some(only)) => return only.next(),
            (None, None) => return None,
        };
        match (upper.peek(), lower.peek()) {
            (Some((over, _)), Some((under, _))) => match self.order.compare(over, under) {
                Ordering::Less => upper.next(),
                Ordering::Greater => lower.next(),
                Ordering::Equal => {
                    lower.next();
                    upper.next()
                }
            },
            (Some(_), None) => upper.next(),
            (None, _) => lower.next(),
        }
    }
}

impl Order {
    /// Which of two keys a scan in this order meets first.
    fn compare(self, left: &[u8], right: &[u8]) -> Ordering {
        match self {
            Self::Ascending => left.cmp(right),
            Self::Descending => right.cmp(left),
        }
    }
}
