//! The keys of a run: a prefix and a number, of one length, in sequence or at random.

use bytes::Bytes;
use clap::ValueEnum;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

/// The order in which keys are visited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Order {
    /// One after the other, over all clients together, from the start again after the last.
    Sequential,
    /// Uniformly at random, each client with its own seed.
    Random,
}

/// A set of keys `prefix` + decimal number.
///
/// Invariants:
/// 1. There is at least one key.
/// 2. Every key has the same length, and numbers sort as keys do (leading zeros).
/// 3. The prefix is not empty and does not end in byte 255, so that a range covers it.
#[derive(Clone, Debug)]
pub struct KeySpace {
    prefix: String,
    count: u64,
    key_len: usize,
}

impl KeySpace {
    /// A key space of `count` keys of `key_len` bytes, or a little longer where the numbers need it.
    #[must_use]
    pub fn new(prefix: &str, count: u64, key_len: usize) -> Self {
        let count = count.max(1);
        let digits = (count - 1).checked_ilog10().unwrap_or(0) as usize + 1;
        let prefix = if prefix.is_empty() {
            "k".to_owned()
        } else {
            prefix.to_owned()
        };
        let key_len = key_len.max(prefix.len() + digits);
        Self {
            prefix,
            count,
            key_len,
        }
    }

    /// The number of keys.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The key of a number; numbers past the end start again.
    #[must_use]
    pub fn key(&self, number: u64) -> Vec<u8> {
        let width = self.key_len - self.prefix.len();
        format!("{}{:0width$}", self.prefix, number % self.count).into_bytes()
    }

    /// Bytes of a key's length that are no key of any key space (see [`crate::template`]).
    #[must_use]
    pub fn placeholder(&self) -> Vec<u8> {
        vec![0xff; self.key_len]
    }

    /// The bounds `[start, end)` of a range over all keys.
    #[must_use]
    pub fn range(&self) -> (Bytes, Bytes) {
        let mut end = self.prefix.clone().into_bytes();
        if let Some(last) = end.last_mut() {
            // A prefix is UTF-8, whose bytes are all below 255.
            *last += 1;
        }
        (Bytes::from(self.prefix.clone()), Bytes::from(end))
    }

    /// The numbers one client visits.
    #[must_use]
    pub fn walk(&self, order: Order, seed: u64) -> Walk {
        Walk {
            count: self.count,
            order,
            rng: SmallRng::seed_from_u64(seed),
        }
    }
}

/// The numbers that one client visits.
#[derive(Clone, Debug)]
pub struct Walk {
    count: u64,
    order: Order,
    rng: SmallRng,
}

impl Walk {
    /// The next number, given the request's place in the whole run.
    pub fn next(&mut self, ticket: u64) -> u64 {
        match self.order {
            Order::Sequential => ticket % self.count,
            Order::Random => self.rng.random_range(0..self.count),
        }
    }
}

/// Values of 7 random bits a byte, the same in every run: they hold no placeholder.
#[must_use]
pub fn value(len: usize, seed: u64) -> Bytes {
    let mut bytes = vec![0; len];
    rand::Rng::fill_bytes(&mut SmallRng::seed_from_u64(seed), &mut bytes);
    bytes.iter_mut().for_each(|byte| *byte &= 0x7f);
    Bytes::from(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_have_one_length_sort_as_their_numbers_and_start_again() {
        let keys = KeySpace::new("bench/", 1000, 16);
        assert_eq!(keys.key(0), b"bench/0000000000");
        assert_eq!(keys.key(999), b"bench/0000000999");
        assert_eq!(keys.key(1000), keys.key(0));
        assert!(keys.key(9) < keys.key(10));
    }

    #[test]
    fn a_length_too_short_for_the_numbers_grows() {
        let keys = KeySpace::new("k", 1_000_000, 2);
        assert_eq!(keys.key(999_999), b"k999999");
        assert_eq!(KeySpace::new("k", 1, 0).key(5), b"k0");
        assert_eq!(keys.placeholder().len(), 7);
    }

    #[test]
    fn the_range_holds_every_key_and_nothing_past_the_prefix() {
        let keys = KeySpace::new("a/", 10, 4);
        let (start, end) = keys.range();
        assert!(start <= keys.key(0) && keys.key(9) < end);
        assert_eq!(&end[..], b"a0");
    }

    #[test]
    fn sequential_walks_follow_the_ticket_and_random_ones_their_seed() {
        let keys = KeySpace::new("k", 10, 8);
        let mut walk = keys.walk(Order::Sequential, 1);
        assert_eq!([walk.next(3), walk.next(12)], [3, 2]);
        let numbers = |seed| {
            let mut walk = keys.walk(Order::Random, seed);
            (0..50).map(|ticket| walk.next(ticket)).collect::<Vec<_>>()
        };
        assert_eq!(numbers(1), numbers(1));
        assert_ne!(numbers(1), numbers(2));
        assert!(numbers(1).iter().all(|number| *number < 10));
    }

    #[test]
    fn values_are_the_same_for_the_same_seed() {
        assert_eq!(value(256, 1), value(256, 1));
        assert_ne!(value(256, 1), value(256, 2));
        assert_eq!(value(0, 1).len(), 0);
        assert!(value(4096, 3).iter().all(u8::is_ascii));
    }
}
