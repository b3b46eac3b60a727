//! What is due when: a heap that is put right when it is looked at, not when times change.
//!
//! A renewal only moves a lease's time to later, so it leaves the heap as it is: an entry that turns
//! up too early is put back with the time that holds by then. A renewal is so one store to memory,
//! and an entry turns up once in a time to live. Entries of leases that are gone are dropped when they turn
//! up, or all at once when they are more than the living.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use cairn_mvcc::LeaseId;

use crate::moment::Moment;

/// Entries that are not worth clearing.
const SPARE_ENTRIES: usize = 1024;

/// Leases by the time when to look at them next.
#[derive(Debug, Default)]
pub(crate) struct DueQueue {
    heap: BinaryHeap<Reverse<(Moment, LeaseId)>>,
}

impl DueQueue {
    /// Looks at `lease` at `due`.
    pub(crate) fn push(&mut self, due: Moment, lease: LeaseId) {
        self.heap.push(Reverse((due, lease)));
    }

    /// The next lease that is due by `now`.
    pub(crate) fn pop(&mut self, now: Moment) -> Option<LeaseId> {
        let Reverse((due, _)) = self.heap.peek()?;
        if *due > now {
            return None;
        }
        let Reverse((_, lease)) = self.heap.pop()?;
        Some(lease)
    }

    /// Makes the queue anew if most of its entries are of leases that are gone; there are `living`.
    pub(crate) fn clear_out<I>(&mut self, living: usize, anew: impl FnOnce() -> I)
    where
        I: Iterator<Item = (Moment, LeaseId)>,
    {
        if self.heap.len() > SPARE_ENTRIES + 2 * living {
            self.heap = anew().map(Reverse).collect();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn at(millis: u64) -> Moment {
        Moment::after_start(Duration::from_millis(millis))
    }

    fn id(number: i64) -> LeaseId {
        LeaseId::from_wire(number).unwrap()
    }

    #[test]
    fn leases_come_when_they_are_due_and_in_order() {
        let mut queue = DueQueue::default();
        for (due, lease) in [(9, 1), (3, 2), (3, -2), (5, 3)] {
            queue.push(at(due), id(lease));
        }
        let due: Vec<_> = std::iter::from_fn(|| queue.pop(at(5))).collect();
        assert_eq!(due, [-2, 2, 3].map(id));
        assert_eq!(queue.pop(at(9)), Some(id(1)));
    }

    #[test]
    fn entries_of_leases_that_are_gone_do_not_pile_up() {
        let mut queue = DueQueue::default();
        for lease in 1..=3000 {
            queue.push(at(1_000_000), id(lease));
            queue.clear_out(1, || [(at(7), id(1))].into_iter());
            assert!(queue.heap.len() <= SPARE_ENTRIES + 2);
        }
    }
}
