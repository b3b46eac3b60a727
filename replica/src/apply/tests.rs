//! The applier against a naive model, against itself in other batches, and after crashes.

mod damage;
mod model;
mod permission;
mod requests;

use bytes::Bytes;
use cairn_backend::{Backend, BackendOptions, MemoryEngine};
use cairn_consensus::{Entry, EntryKind, LogIndex, Term};
use cairn_mvcc::{Progress, RangeQuery, ReadAt, Restored, Store};
use proptest::prelude::*;

use super::*;
use crate::log_request::LogRequest;
use crate::request_ids::RequestId;
use model::Model;
use requests::script;

/// Changes that one step of a compaction reads: few, so that it takes several.
const COMPACTION_CHANGES: usize = 3;

/// An applier over a disk in memory.
struct Machine {
    store: Store,
    applier: Applier,
    /// All answers, by the number of their request.
    replies: Vec<String>,
    /// All changes.
    changes: Vec<String>,
}

impl Machine {
    fn open(disk: &MemoryEngine) -> Self {
        let backend = Backend::open(disk.clone(), BackendOptions::default()).unwrap();
        let restored = Restored::read(backend).unwrap();
        let store = restored.store.clone();
        let applier = Applier::restore(restored).unwrap();
        Self {
            store,
            applier,
            replies: Vec::new(),
            changes: Vec::new(),
        }
    }

    fn apply(&mut self, entries: &[Entry]) {
        let applied = self.applier.apply(entries.to_vec()).unwrap();
        let replies = applied.replies.iter().map(|reply| format!("{reply:?}"));
        self.replies.extend(replies);
        let changes = applied.changes.iter().map(|change| format!("{change:?}"));
        self.changes.extend(changes);
    }

    /// Deletes a piece of what is compacted; false if there is nothing left.
    fn compact(&self) -> bool {
        self.store.compaction_step(COMPACTION_CHANGES).unwrap() != Progress::Idle
    }

    /// All that the machine holds, in two numbers: every table's bytes, and the history.
    fn hashes(&self) -> (u32, u32) {
        while self.compact() {}
        let history = self.store.hash_kv(ReadAt::Latest).unwrap().hash;
        (self.store.backend().hash().unwrap(), history)
    }
}

/// The term of an entry: an election every seven.
fn term_of(number: u64) -> u64 {
    1 + number / 7
}

fn entries(requests: &[LogRequest]) -> Vec<Entry> {
    let numbered = (1..).zip(requests);
    numbered
        .map(|(number, request)| Entry {
            index: LogIndex::new(number),
            term: Term::new(term_of(number)),
            kind: EntryKind::Normal(request.encode(RequestId::from_wire(number).unwrap(), None)),
        })
        .collect()
}

/// Applies `entries` in batches whose lengths repeat `lengths`.
fn apply_in_batches(machine: &mut Machine, entries: &[Entry], lengths: &[usize]) {
    let (mut left, mut lengths) = (entries, lengths.iter().cycle());
    while !left.is_empty() {
        let (batch, rest) = left.split_at((*lengths.next().unwrap()).min(left.len()));
        machine.apply(batch);
        left = rest;
    }
}

proptest! {
    #[test]
    fn answers_and_state_are_those_of_a_naive_model(requests in script()) {
        let mut machine = Machine::open(&MemoryEngine::new());
        let mut model = Model::default();
        for (number, entry) in entries(&requests).into_iter().enumerate() {
            let applied = machine.applier.apply([entry]).unwrap();
            let [(_, reply)] = &applied.replies[..] else {
                panic!("one answer: {:?}", applied.replies);
            };
            let expected = model.apply(&requests[number]);
            prop_assert_eq!(model::told(reply), expected, "request {}", number);
            let mut state = Vec::new();
            let summary = machine.store.range(&RangeQuery::new(cairn_index::KeyRange::All), &mut |kv| {
                state.push(Bytes::copy_from_slice(kv.encoded));
            });
            prop_assert_eq!(summary.unwrap().revision.to_wire(), model.revision);
            prop_assert_eq!(state, model.encoded(), "request {}", number);
        }
    }

    /// Members get the same entries in other batches, and delete what is compacted at other times.
    #[test]
    fn batches_and_the_pace_of_compaction_change_nothing(
        requests in script(),
        lengths in prop::collection::vec(1_usize..9, 1..5),
    ) {
        let entries = entries(&requests);
        let mut one_by_one = Machine::open(&MemoryEngine::new());
        for entry in &entries {
            one_by_one.apply(std::slice::from_ref(entry));
            one_by_one.compact();
        }
        let mut in_batches = Machine::open(&MemoryEngine::new());
        apply_in_batches(&mut in_batches, &entries, &lengths);
        prop_assert_eq!(&one_by_one.replies, &in_batches.replies);
        prop_assert_eq!(&one_by_one.changes, &in_batches.changes);
        prop_assert_eq!(one_by_one.hashes(), in_batches.hashes());
    }

    /// A crash loses what was not committed; the log brings all of it back, and nothing twice.
    #[test]
    fn a_crash_and_the_log_give_the_same_state(
        requests in script(),
        committed in any::<prop::sample::Index>(),
        crashed in any::<prop::sample::Index>(),
        lengths in prop::collection::vec(1_usize..9, 1..5),
    ) {
        let entries = entries(&requests);
        let crashed = crashed.index(entries.len() + 1);
        let committed = committed.index(crashed + 1);
        let mut whole = Machine::open(&MemoryEngine::new());
        apply_in_batches(&mut whole, &entries, &lengths);

        let disk = MemoryEngine::new();
        let mut before = Machine::open(&disk);
        apply_in_batches(&mut before, &entries[..committed], &lengths);
        before.store.backend().force_commit().unwrap();
        apply_in_batches(&mut before, &entries[committed..crashed], &lengths);
        before.compact();
        drop(before);

        let mut after = Machine::open(&disk);
        prop_assert_eq!(after.applier.applied(), LogIndex::new(committed as u64));
        // From the first entry on: those that the disk holds are passed over.
        apply_in_batches(&mut after, &entries, &[5]);
        prop_assert_eq!(&after.replies[..], &whole.replies[committed..]);
        prop_assert_eq!(after.applier.alarms().load_full(), whole.applier.alarms().load_full());
        let members = |machine: &Machine| format!("{:?}", machine.applier.membership().load());
        prop_assert_eq!(members(&after), members(&whole));
        prop_assert_eq!(after.hashes(), whole.hashes());
    }
}
