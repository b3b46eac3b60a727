//! A member that applies entries by chance, and remembers what it held at each revision.

use std::collections::BTreeMap;
use std::ops::{Bound, ControlFlow};

use bytes::Bytes;
use cairn_backend::{Backend, BackendOptions, MemoryEngine, Table};
use cairn_consensus::{
    ConfChange, ConfChangeKind, Entry, EntryKind, LogIndex, MemberId, RawEntry, Term,
};
use cairn_lease::{Expired, Expiry, LeaseId, Renewal};
use cairn_mvcc::{ReadAt, Restored, Revision, Store};
use cairn_proto::etcdserverpb::{
    AuthRoleAddRequest, CompactionRequest, DeleteRangeRequest, LeaseGrantRequest,
    LeaseRevokeRequest, PutRequest,
};
use cairn_replica::apply::Applier;
use cairn_replica::lease_request::LeaseRequest;
use cairn_replica::log_request::LogRequest;
use cairn_replica::request_ids::RequestId;

use super::faulty_store::Chance;
use crate::tail::{Start, Tail};

/// What a store holds, as far as it can differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fingerprint {
    hash: u32,
    /// Rows of leases, alarms, users, roles and members; none where they are not known.
    pub(super) rows: Option<Vec<(Vec<u8>, Vec<u8>)>>,
}

impl Fingerprint {
    pub(super) fn of(store: &Store) -> Self {
        let view = store.backend().read().unwrap();
        let mut rows = Vec::new();
        for table in Table::ALL {
            if matches!(table, Table::Key | Table::Meta) {
                continue;
            }
            let everything = (Bound::Unbounded, Bound::Unbounded);
            let mut take = |key: &[u8], value: &[u8]| {
                rows.push((key.to_vec(), value.to_vec()));
                ControlFlow::Continue(())
            };
            view.scan(table, everything, &mut take).unwrap();
        }
        Self {
            hash: store.hash_kv(ReadAt::Latest).unwrap().hash,
            rows: Some(rows),
        }
    }
}

pub(super) struct History {
    store: Store,
    applier: Applier,
    term: u64,
    last: Option<RawEntry>,
    /// What was held at each revision, last. Amid an entry that makes several, the hash alone.
    held: BTreeMap<u64, Fingerprint>,
    seed: u64,
    /// Leases with the index of the entry that granted them.
    leases: Vec<(i64, u64)>,
}

impl History {
    pub(super) fn new(seed: u64) -> Self {
        let backend = Backend::open(MemoryEngine::new(), BackendOptions::default()).unwrap();
        let restored = Restored::read(backend).unwrap();
        let store = restored.store.clone();
        let mut this = Self {
            store,
            applier: Applier::restore(restored).unwrap(),
            term: 1,
            last: None,
            held: BTreeMap::new(),
            seed,
            leases: Vec::new(),
        };
        this.apply(vec![this.member_entry(1, ConfChangeKind::AddVoter)], 1, &[]);
        this
    }

    pub(super) fn backend(&self) -> &Backend {
        self.store.backend()
    }

    pub(super) fn revision(&self) -> u64 {
        self.store.current().number()
    }

    pub(super) fn index(&self) -> u64 {
        self.applier.applied().get()
    }

    /// The tail of a member that starts now.
    pub(super) fn tail(&self, bytes_max: usize) -> Tail {
        Tail::new(
            bytes_max,
            Start {
                index: self.applier.applied(),
                term: Term::new(self.term),
                anchor: self.last.clone(),
            },
        )
    }

    /// Compares what was restored with what was held.
    pub(super) fn check(&self, seed: u64, revision: u64, found: &Fingerprint) {
        let held = &self.held[&revision];
        assert_eq!(found.hash, held.hash, "seed {seed}, revision {revision}");
        if held.rows.is_some() && found.rows.is_some() {
            assert_eq!(found, held, "seed {seed}, revision {revision}");
        }
    }

    /// Applies some entries, in one batch.
    pub(super) fn go_on(&mut self, chance: &mut Chance, now_ms: u64, tails: &[&Tail]) {
        let count = chance.below(6);
        if chance.one_in(10) {
            self.term += 1;
        }
        for _ in 0..count {
            let entry = self.entry(chance);
            self.apply(vec![entry], now_ms, tails);
        }
    }

    fn apply(&mut self, entries: Vec<Entry>, now_ms: u64, tails: &[&Tail]) {
        let copies: Vec<RawEntry> = entries.iter().cloned().map(RawEntry::from).collect();
        let before = self.revision();
        let applied = self.applier.apply(entries).unwrap();
        let revisions = applied.revisions.iter().map(|it| it.number());
        let pairs: Vec<_> = copies.into_iter().zip(revisions).collect();
        for tail in tails {
            tail.push(pairs.clone(), now_ms);
        }
        if let Some((said, _)) = pairs.iter().rev().find(|(entry, _)| !entry.data.is_empty()) {
            self.last = Some(said.clone());
        }
        let now = self.revision();
        for amid in before + 1..now {
            let at = ReadAt::Revision(Revision::new(amid).unwrap());
            let hash = self.store.hash_kv(at).unwrap().hash;
            self.held.insert(amid, Fingerprint { hash, rows: None });
        }
        self.held.insert(now, Fingerprint::of(&self.store));
    }

    fn entry(&mut self, chance: &mut Chance) -> Entry {
        let key = || Bytes::from(format!("key{}", self.seed % 7));
        let some_key = Bytes::from(format!("key{}", chance.below(12)));
        let request = match chance.below(20) {
            0 => return self.empty(),
            1 => return self.member_entry(2 + chance.below(50), ConfChangeKind::AddVoter),
            2 | 3 => LogRequest::DeleteRange(DeleteRangeRequest {
                key: some_key,
                ..DeleteRangeRequest::default()
            }),
            4 | 5 => {
                let id = 1 + i64::try_from(chance.below(1000)).unwrap();
                self.leases.push((id, self.index() + 1));
                LogRequest::Lease(LeaseRequest::Grant(LeaseGrantRequest { id, ttl: 600 }))
            }
            6 => match self.leases.pop() {
                Some((id, _)) => LogRequest::Lease(LeaseRequest::Revoke(LeaseRevokeRequest { id })),
                None => return self.empty(),
            },
            7 | 8 => self.expiry(),
            9 => LogRequest::Compaction(CompactionRequest {
                revision: self.store.current().to_wire() - i64::try_from(chance.below(9)).unwrap(),
                physical: false,
            }),
            10 => LogRequest::Auth(cairn_auth::AuthRequest::AuthRoleAdd(AuthRoleAddRequest {
                name: format!("role{}", chance.below(1000)),
            })),
            11..15 if !self.leases.is_empty() => {
                let at = usize::try_from(chance.next() % self.leases.len() as u64).unwrap();
                LogRequest::Put(PutRequest {
                    key: Bytes::from(format!("leased{}", chance.below(20))),
                    value: key(),
                    lease: self.leases[at].0,
                    ..PutRequest::default()
                })
            }
            _ => LogRequest::Put(PutRequest {
                key: some_key,
                value: Bytes::from(vec![chance.byte(); 20]),
                ..PutRequest::default()
            }),
        };
        self.request(&request)
    }

    /// Ends all leases there are in one entry, in as many revisions as have keys.
    fn expiry(&mut self) -> LogRequest {
        let leases = std::mem::take(&mut self.leases).into_iter();
        let leases = leases.map(|(id, granted)| Expired {
            id: LeaseId::from_wire(id).unwrap(),
            renewal: Renewal(granted),
        });
        LogRequest::Lease(LeaseRequest::Expire(Expiry {
            term: cairn_lease::Term(self.term),
            leases: leases.collect(),
        }))
    }

    fn request(&self, request: &LogRequest) -> Entry {
        // Unlike in another history.
        let number = (self.seed << 32) + self.index() + 1;
        let id = RequestId::from_wire(number).unwrap();
        self.of(EntryKind::Normal(request.encode(id, None)))
    }

    fn empty(&self) -> Entry {
        self.of(EntryKind::Empty)
    }

    fn member_entry(&self, member: u64, kind: ConfChangeKind) -> Entry {
        let context = format!(r#"{{"id":{member},"peerURLs":["http://m{member}:1"],"name":""}}"#);
        self.of(EntryKind::ConfChange(ConfChange {
            id: (self.seed << 32) + self.index() + 1,
            kind,
            member: MemberId::from_wire(member).unwrap(),
            context: context.into(),
        }))
    }

    fn of(&self, kind: EntryKind) -> Entry {
        Entry {
            index: LogIndex::new(self.index() + 1),
            term: Term::new(self.term),
            kind,
        }
    }
}
