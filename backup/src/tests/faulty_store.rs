//! A store of objects in memory, in trouble.

use std::cell::RefCell;
use std::collections::BTreeMap;

use bytes::Bytes;

use crate::store::{Put, Store, StoreError};

/// Numbers from a seed (SplitMix64).
pub(super) struct Chance(u64);

impl Chance {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5bd1_e995)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut it = self.0;
        it = (it ^ (it >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        it = (it ^ (it >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        it ^ (it >> 31)
    }

    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    pub(super) fn one_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }

    pub(super) fn byte(&mut self) -> u8 {
        self.next().to_le_bytes()[0]
    }
}

/// What goes wrong; each number is a chance of one in so many, 0 never.
#[derive(Clone, Copy)]
pub(super) struct Faults {
    /// A call fails and does nothing.
    fails: u64,
    /// A write fails, and is done all the same.
    fails_but_writes: u64,
    /// A write fails, and is done later.
    writes_later: u64,
    /// A listing is one of some time ago.
    lists_old: u64,
    /// The store is away for some time.
    goes_away: u64,
}

impl Faults {
    pub(super) const NONE: Self = Self {
        fails: 0,
        fails_but_writes: 0,
        writes_later: 0,
        lists_old: 0,
        goes_away: 0,
    };
    pub(super) const ALL: Self = Self {
        fails: 12,
        fails_but_writes: 15,
        writes_later: 15,
        lists_old: 2,
        goes_away: 60,
    };
    /// Nothing by which entries that wait could be pushed out.
    pub(super) const WITHOUT_LOSS: Self = Self {
        goes_away: 0,
        ..Self::ALL
    };
}

pub(super) struct FaultyStore {
    inner: RefCell<Inner>,
}

struct Inner {
    objects: BTreeMap<String, Bytes>,
    chance: Chance,
    faults: Faults,
    /// Writes that are still on their way.
    later: Vec<(String, Bytes)>,
    /// What listings showed before.
    old_names: Vec<Vec<String>>,
    away_for: u64,
}

impl FaultyStore {
    pub(super) fn new(seed: u64, faults: Faults) -> Self {
        Self {
            inner: RefCell::new(Inner {
                objects: BTreeMap::new(),
                chance: Chance::new(seed),
                faults,
                later: Vec::new(),
                old_names: Vec::new(),
                away_for: 0,
            }),
        }
    }

    /// Ends all trouble; what was on its way arrives.
    pub(super) fn recover(&self) {
        let mut inner = self.inner.borrow_mut();
        inner.faults = Faults::NONE;
        inner.away_for = 0;
        for (name, bytes) in std::mem::take(&mut inner.later) {
            inner.objects.entry(name).or_insert(bytes);
        }
    }

    /// Changes an object behind everybody's back.
    pub(super) fn tamper(&self, name: &str, change: impl FnOnce(Bytes) -> Option<Bytes>) {
        let mut inner = self.inner.borrow_mut();
        let object = inner.objects.remove(name).unwrap();
        if let Some(changed) = change(object) {
            inner.objects.insert(name.to_owned(), changed);
        }
    }
}

impl Inner {
    fn happens(&mut self, fault: impl Fn(&Faults) -> u64) -> bool {
        match fault(&self.faults) {
            0 => false,
            times => self.chance.one_in(times),
        }
    }

    /// Some time passes.
    fn begin(&mut self) -> Result<(), StoreError> {
        let arrives = !self.later.is_empty() && self.chance.one_in(3);
        if arrives {
            let (name, bytes) = self.later.remove(0);
            self.objects.entry(name).or_insert(bytes);
        }
        let names = self.objects.keys().cloned().collect();
        self.old_names.push(names);
        if self.happens(|it| it.goes_away) {
            self.away_for = self.chance.below(40);
        }
        if self.away_for > 0 {
            self.away_for -= 1;
            return Err(failed());
        }
        if self.happens(|it| it.fails) {
            return Err(failed());
        }
        Ok(())
    }
}

fn failed() -> StoreError {
    StoreError("no answer".to_owned())
}

impl Store for FaultyStore {
    fn put_new(&self, name: &str, bytes: Bytes) -> Result<Put, StoreError> {
        let mut inner = self.inner.borrow_mut();
        inner.begin()?;
        if inner.happens(|it| it.writes_later) {
            inner.later.push((name.to_owned(), bytes));
            return Err(failed());
        }
        let put = if inner.objects.contains_key(name) {
            Put::Exists
        } else {
            inner.objects.insert(name.to_owned(), bytes);
            Put::Done
        };
        if inner.happens(|it| it.fails_but_writes) {
            return Err(failed());
        }
        Ok(put)
    }

    fn get(&self, name: &str) -> Result<Option<Bytes>, StoreError> {
        let mut inner = self.inner.borrow_mut();
        inner.begin()?;
        Ok(inner.objects.get(name).cloned())
    }

    fn list(&self, folder: &str, after: &str) -> Result<Vec<String>, StoreError> {
        let mut inner = self.inner.borrow_mut();
        inner.begin()?;
        let last = inner.old_names.len() as u64;
        let back = if inner.happens(|it| it.lists_old) {
            inner.chance.below(last.min(20))
        } else {
            0
        };
        let names = inner
            .old_names
            .iter()
            .rev()
            .nth(usize::try_from(back).unwrap());
        let shown = |name: &&String| name.starts_with(folder) && name.as_str() > after;
        Ok(names.unwrap().iter().filter(shown).cloned().collect())
    }

    fn folders(&self) -> Result<Vec<String>, StoreError> {
        let names = self.list("", "")?;
        let tops = names.iter().filter_map(|name| name.split('/').next());
        let mut tops: Vec<_> = tops.map(str::to_owned).collect();
        tops.dedup();
        Ok(tops)
    }

    fn delete(&self, name: &str) -> Result<(), StoreError> {
        let mut inner = self.inner.borrow_mut();
        inner.begin()?;
        inner.objects.remove(name);
        Ok(())
    }
}
