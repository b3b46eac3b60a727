//! etcd's store as a naive, deterministic model: a state, a request, the next state and the answer.
//!
//! A state knows the present alone. Whoever drives the model keeps the states of all revisions, for
//! a clone costs nothing, and reads of the past look there.

mod perform;
mod range;
mod txn;

use std::hash::{DefaultHasher, Hash, Hasher};

use im::{OrdMap, OrdSet};

pub(crate) use self::perform::{lock_key, perform};
pub(crate) use self::range::compare;
use crate::{
    Data, DeleteRequest, DeleteResponse, Event, EventKind, KeyRange, KeyValue, LeaseId, PutRequest,
    RangeRequest, RangeResponse, Refusal, Revision, TxnRequest, TxnResponse,
};

/// All that a store holds at one revision.
///
/// 1. A key is in `attached` under its lease, and only there.
/// 2. `digest` is a function of `keys`.
#[derive(Clone, Debug)]
pub(crate) struct State {
    revision: Revision,
    keys: OrdMap<Data, KeyValue>,
    attached: OrdMap<LeaseId, OrdSet<Data>>,
    digest: u64,
}

/// The states of all revisions from the first on, without gaps.
#[derive(Clone, Debug)]
pub(crate) struct States(Vec<State>);

/// A request under way: what it changed so far, all in one revision that is yet to come.
#[derive(Clone, Debug)]
pub(crate) struct Writing {
    state: State,
    changes: Vec<Event>,
}

impl States {
    pub(crate) fn fresh() -> Self {
        Self(vec![State::fresh()])
    }

    /// The state at a revision, if it is one.
    pub(crate) fn at(&self, revision: Revision) -> Option<&State> {
        let place = revision.0.checked_sub(Revision::FRESH.0)?;
        self.0.get(usize::try_from(place).ok()?)
    }

    /// The newest state.
    pub(crate) fn last(&self) -> &State {
        #[expect(clippy::expect_used, reason = "the fresh state is never taken away")]
        self.0.last().expect("a state")
    }

    pub(crate) fn push(&mut self, state: State) {
        assert_eq!(state.revision, self.last().revision.next());
        self.0.push(state);
    }

    /// Forgets the states after a revision.
    pub(crate) fn truncate_after(&mut self, revision: Revision) {
        let keep = revision.0.saturating_sub(Revision::FRESH.0 - 1).max(1);
        self.0.truncate(usize::try_from(keep).unwrap_or(usize::MAX));
    }
}

impl State {
    fn fresh() -> Self {
        Self {
            revision: Revision::FRESH,
            keys: OrdMap::new(),
            attached: OrdMap::new(),
            digest: 0,
        }
    }

    pub(crate) fn revision(&self) -> Revision {
        self.revision
    }

    /// The same for states that hold the same; different ones differ but for chance.
    pub(crate) fn digest(&self) -> u64 {
        self.digest
    }

    pub(crate) fn key(&self, key: &Data) -> Option<&KeyValue> {
        self.keys.get(key)
    }

    /// The key-values of a range, in the order of the keys.
    pub(crate) fn scan<'a>(
        &'a self,
        range: &'a KeyRange,
    ) -> Box<dyn Iterator<Item = &'a KeyValue> + 'a> {
        match range {
            KeyRange::One(key) => Box::new(self.keys.get(key).into_iter()),
            KeyRange::From(first) => Box::new(self.keys.range(first.clone()..).map(|(_, kv)| kv)),
            KeyRange::Span(first, end) if first < end => Box::new(
                self.keys
                    .range(first.clone()..end.clone())
                    .map(|(_, kv)| kv),
            ),
            KeyRange::Span(..) => Box::new(std::iter::empty()),
        }
    }

    /// The leases that have keys.
    pub(crate) fn leases(&self) -> impl Iterator<Item = LeaseId> + '_ {
        self.attached.keys().copied()
    }

    fn insert(&mut self, kv: KeyValue) -> Option<KeyValue> {
        let before = self.remove(&kv.key);
        if let Some(lease) = kv.lease {
            let keys = self.attached.entry(lease).or_default();
            keys.insert(kv.key.clone());
        }
        self.digest ^= digest(&kv);
        self.keys.insert(kv.key.clone(), kv);
        before
    }

    fn remove(&mut self, key: &Data) -> Option<KeyValue> {
        let kv = self.keys.remove(key)?;
        self.digest ^= digest(&kv);
        if let Some(lease) = kv.lease
            && let Some(keys) = self.attached.get_mut(&lease)
        {
            keys.remove(key);
            if keys.is_empty() {
                self.attached.remove(&lease);
            }
        }
        Some(kv)
    }
}

fn digest(kv: &KeyValue) -> u64 {
    // Its keys are fixed: the same in every run.
    let mut hasher = DefaultHasher::new();
    kv.hash(&mut hasher);
    hasher.finish()
}

impl Writing {
    pub(crate) fn on(state: &State) -> Self {
        Self {
            state: state.clone(),
            changes: Vec::new(),
        }
    }

    /// The state after it and what it changed, if it changed anything.
    pub(crate) fn end(mut self) -> Option<(State, Vec<Event>)> {
        if self.changes.is_empty() {
            return None;
        }
        self.state.revision = self.state.revision.next();
        Some((self.state, self.changes))
    }

    /// What it changed so far, in order.
    pub(crate) fn changes(&self) -> &[Event] {
        &self.changes
    }

    /// The revision of its changes.
    fn revision(&self) -> Revision {
        self.state.revision.next()
    }

    /// Writes a key; the version before comes back.
    pub(crate) fn put(&mut self, put: &PutRequest) -> Result<Option<KeyValue>, Refusal> {
        let before = self.state.keys.get(&put.key);
        if before.is_none() && (put.ignore_value || put.ignore_lease) {
            return Err(Refusal::KeyNotFound);
        }
        let value = before.filter(|_| put.ignore_value).map(|kv| &kv.value);
        let lease = before.filter(|_| put.ignore_lease).map(|kv| kv.lease);
        let revision = self.revision();
        let kv = KeyValue {
            key: put.key.clone(),
            value: value.unwrap_or(&put.value).clone(),
            create_revision: before.map_or(revision, |kv| kv.create_revision),
            mod_revision: revision,
            version: before.map_or(0, |kv| kv.version).saturating_add(1),
            lease: lease.unwrap_or(put.lease),
        };
        let before = self.state.insert(kv.clone());
        self.changes.push(Event {
            kind: EventKind::Put,
            kv,
            prev_kv: before.clone(),
        });
        Ok(before)
    }

    /// Deletes a range, in the order of the keys; what was there comes back.
    pub(crate) fn delete(&mut self, range: &KeyRange) -> Vec<KeyValue> {
        let found: Vec<KeyValue> = self.state.scan(range).cloned().collect();
        for kv in &found {
            self.delete_key(kv);
        }
        found
    }

    /// Deletes what is attached to a lease, in the order of the keys.
    pub(crate) fn end_lease(&mut self, lease: LeaseId) {
        let keys = self.state.attached.get(&lease).cloned().unwrap_or_default();
        for key in &keys {
            if let Some(kv) = self.state.keys.get(key).cloned() {
                self.delete_key(&kv);
            }
        }
    }

    fn delete_key(&mut self, kv: &KeyValue) {
        self.state.remove(&kv.key);
        self.changes.push(Event {
            kind: EventKind::Delete,
            kv: KeyValue {
                key: kv.key.clone(),
                mod_revision: self.revision(),
                ..KeyValue::default()
            },
            prev_kv: Some(kv.clone()),
        });
    }

    /// The answer to a deletion.
    pub(crate) fn delete_range(&mut self, request: &DeleteRequest) -> DeleteResponse {
        let found = self.delete(&request.range);
        DeleteResponse {
            deleted: i64::try_from(found.len()).unwrap_or(i64::MAX),
            prev_kvs: if request.prev_kv { found } else { Vec::new() },
        }
    }

    /// The answer to a write.
    pub(crate) fn put_answer(&mut self, put: &PutRequest) -> Result<Option<KeyValue>, Refusal> {
        let before = self.put(put)?;
        Ok(before.filter(|_| put.prev_kv))
    }

    /// Reads, the present or one of the states of the past.
    pub(crate) fn range(
        &self,
        past: &States,
        request: &RangeRequest,
    ) -> Result<RangeResponse, Refusal> {
        match request.revision {
            None => Ok(range::answer(&self.state, request)),
            // Its own changes are the newest revision there is.
            Some(revision) if revision == self.revision() && !self.changes.is_empty() => {
                Ok(range::answer(&self.state, request))
            }
            Some(revision) if revision > self.state.revision => Err(Refusal::FutureRevision),
            Some(revision) => match past.at(revision) {
                Some(state) => Ok(range::answer(state, request)),
                None => Err(Refusal::Compacted),
            },
        }
    }

    /// Runs a transaction.
    pub(crate) fn txn(&mut self, past: &States, txn: &TxnRequest) -> Result<TxnResponse, Refusal> {
        txn::run(self, past, txn)
    }
}

#[cfg(test)]
mod tests;
