//! Looking up ascending keys: from entry to entry where they lie close, by the tree where not.
//!
//! A step to the next entry costs some 30 ns and a way down the tree ten times that, so close is
//! where fewer entries than that lie between. What was close before is expected to be so again.

use std::cmp::Ordering;
use std::ops::Bound;

use heed::types::Bytes;
use heed::{Database, Error, RoRange, RoTxn, WithoutTls};

/// How many entries a walk goes over to a key before it counts as far.
const STEPS_MAX: usize = 8;

/// How many keys are looked up by the tree before a walk is tried again; doubled each time that
/// the next key is far.
const REST_KEYS_MIN: usize = 8;

/// The most that it is doubled to.
const REST_KEYS_MAX: usize = 1024;

/// A read of ascending keys.
pub(super) struct Walk<'a> {
    table: Database<'static, Bytes, Bytes>,
    txn: &'a RoTxn<'static, WithoutTls>,
    entries: Option<RoRange<'a, Bytes, Bytes>>,
    /// The entry that the walk has come to but no key has asked for.
    ahead: Option<(&'a [u8], &'a [u8])>,
    /// How many keys are still to be looked up by the tree.
    rest_keys: usize,
    /// How many the next rest is.
    next_rest_keys: usize,
}

impl<'a> Walk<'a> {
    pub(super) const fn new(
        table: Database<'static, Bytes, Bytes>,
        txn: &'a RoTxn<'static, WithoutTls>,
    ) -> Self {
        Self {
            table,
            txn,
            entries: None,
            ahead: None,
            rest_keys: 0,
            next_rest_keys: REST_KEYS_MIN,
        }
    }

    /// The value of a key, which must come after those asked for before.
    pub(super) fn find(&mut self, key: &[u8]) -> Result<Option<&'a [u8]>, Error> {
        // LMDB refuses the empty key, which no table has.
        if key.is_empty() {
            return Ok(None);
        }
        if self.rest_keys > 0 {
            self.rest_keys -= 1;
            return self.table.get(self.txn, key);
        }
        let Some(entries) = &mut self.entries else {
            let from = (Bound::Included(key), Bound::Unbounded);
            let entries = self.entries.insert(self.table.range(self.txn, &from)?);
            self.ahead = entries.next().transpose()?;
            return Ok(self
                .ahead
                .and_then(|(at, value)| (at == key).then_some(value)));
        };
        for _ in 0..STEPS_MAX {
            let Some((at, value)) = self.ahead else {
                return Ok(None);
            };
            match at.cmp(key) {
                Ordering::Less => self.ahead = entries.next().transpose()?,
                Ordering::Equal => {
                    self.next_rest_keys = REST_KEYS_MIN;
                    return Ok(Some(value));
                }
                Ordering::Greater => return Ok(None),
            }
        }
        self.entries = None;
        self.rest_keys = self.next_rest_keys;
        self.next_rest_keys = (self.next_rest_keys * 2).min(REST_KEYS_MAX);
        self.table.get(self.txn, key)
    }
}
