//! A member as far as leases are concerned: a store, the leases, and what applies entries to both.

use std::collections::BTreeMap;
use std::ops::{Bound, ControlFlow};
use std::time::Duration;

use bytes::Bytes;
use cairn_backend::{Backend, BackendOptions, MemoryEngine, Table};
use cairn_lease::{Checkpoint, Expiry, LeaseId, Leases, Moment, Renewal, Term, Ttl};
use cairn_mvcc::{KeyRange, RangeQuery, Restored, Store};

pub(crate) fn id(number: i64) -> LeaseId {
    LeaseId::from_wire(number).expect("no lease has the id 0")
}

pub(crate) fn ttl(secs: i64) -> Ttl {
    Ttl::from_wire(secs).expect("tests ask for what can be granted")
}

pub(crate) fn at(millis: u64) -> Moment {
    Moment::after_start(Duration::from_millis(millis))
}

/// What a log entry asks for.
#[derive(Clone, Debug)]
pub(crate) enum Command {
    Empty,
    Grant(LeaseId, Ttl),
    Revoke(LeaseId),
    Put(&'static [u8], Option<LeaseId>),
    Delete(&'static [u8]),
    Renewed(Term, LeaseId),
    Checkpoint(Term, Vec<Checkpoint>),
    Expire(Expiry),
}

/// A log entry.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) term: Term,
    pub(crate) command: Command,
}

pub(crate) struct Member {
    engine: MemoryEngine,
    pub(crate) store: Store,
    pub(crate) leases: Leases,
    pub(crate) applied: usize,
}

impl Member {
    pub(crate) fn new() -> Self {
        let engine = MemoryEngine::new();
        let (store, leases) = open(&engine);
        Self {
            engine,
            store,
            leases,
            applied: 0,
        }
    }

    /// Starts anew from what is stored.
    pub(crate) fn restart(&mut self) {
        self.store.backend().commit().expect("memory does not fail");
        (self.store, self.leases) = open(&self.engine);
    }

    /// Applies an entry, as a server does; says which leases it ended because they had expired.
    pub(crate) fn apply(&mut self, entry: &Entry) -> Vec<LeaseId> {
        self.applied += 1;
        let renewal = Renewal(self.applied as u64);
        let store = self.store.clone();
        let mut batch = store.write();
        let tx = batch.backend();
        let mut expired = Vec::new();
        let mut gone = Vec::new();
        let mut put = None;
        match &entry.command {
            Command::Empty => {}
            Command::Grant(id, ttl) => {
                let _ = self.leases.grant(*id, *ttl, renewal, tx);
            }
            Command::Revoke(id) => gone.extend(self.leases.revoke(*id, tx)),
            Command::Put(_, Some(lease)) if !self.leases.contains(*lease) => {}
            Command::Put(key, lease) => put = Some((*key, *lease)),
            Command::Delete(key) => gone.push(vec![(*key).into()]),
            Command::Renewed(term, id) if *term == entry.term => {
                self.leases.renewed(*id, renewal, tx);
            }
            Command::Checkpoint(term, checkpoints) if *term == entry.term => {
                for checkpoint in checkpoints {
                    self.leases.checkpoint(*checkpoint, tx);
                }
            }
            Command::Expire(expiry) if expiry.term == entry.term => {
                for lease in &expiry.leases {
                    let keys = self.leases.expire(*lease, tx);
                    expired.extend(keys.is_some().then_some(lease.id));
                    gone.extend(keys);
                }
            }
            Command::Renewed(..) | Command::Checkpoint(..) | Command::Expire(_) => {}
        }
        let mut txn = batch.txn();
        if let Some((key, lease)) = put {
            txn.put(key, b"value", lease);
        }
        for key in gone.iter().flatten() {
            txn.delete_range(&KeyRange::One(Bytes::copy_from_slice(key)));
        }
        let changes = txn.end().changes;
        self.leases.follow(&changes).expect("the store made them");
        batch.end().expect("memory does not fail");
        self.leases.check_invariants();
        expired
    }

    /// The stored leases, byte for byte.
    pub(crate) fn stored(&self) -> BTreeMap<Vec<u8>, Vec<u8>> {
        let mut stored = BTreeMap::new();
        let everything = (Bound::Unbounded, Bound::Unbounded);
        let tx = self.store.backend().read().expect("memory does not fail");
        tx.scan(Table::Lease, everything, &mut |key, value| {
            stored.insert(key.to_vec(), value.to_vec());
            ControlFlow::Continue(())
        })
        .expect("memory does not fail");
        stored
    }

    /// The keys of the store, and their leases.
    pub(crate) fn stored_keys(&self) -> BTreeMap<Vec<u8>, Option<LeaseId>> {
        let mut keys = BTreeMap::new();
        self.store
            .range(&RangeQuery::new(KeyRange::All), &mut |kv| {
                let lease = kv.fields().expect("the store made it").lease;
                keys.insert(kv.key.to_vec(), lease);
            })
            .expect("memory does not fail");
        keys
    }

    pub(crate) fn keys(&self, lease: LeaseId) -> Vec<Vec<u8>> {
        self.leases.keys(lease).map(|key| key.to_vec()).collect()
    }
}

fn open(engine: &MemoryEngine) -> (Store, Leases) {
    let backend = Backend::open(engine.clone(), BackendOptions::default());
    let restored =
        Restored::read(backend.expect("memory opens")).expect("what was stored is sound");
    let tx = restored.store.backend().read().expect("memory reads");
    let leases = Leases::restore(&tx, restored.leases).expect("what was stored is sound");
    (restored.store, leases)
}
