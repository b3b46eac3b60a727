//! The log in memory, against a list of all entries.

use proptest::prelude::*;
use raft::Storage as _;

use super::*;
use crate::conf_change::ConfState;

fn entry(index: u64, term: u64, bytes: usize) -> eraftpb::Entry {
    let mut entry = eraftpb::Entry {
        index,
        term,
        data: vec![7; bytes].into(),
        ..eraftpb::Entry::default()
    };
    if index.is_multiple_of(5) {
        entry.set_entry_type(eraftpb::EntryType::EntryConfChange);
    }
    entry
}

fn marker(index: u64, term: u64, origin: MarkerOrigin) -> Marker {
    Marker {
        index: LogIndex::new(index),
        term: Term::new(term),
        conf_state: ConfState::default(),
        origin,
    }
}

fn whole(log: &LogStore, low: u64, high: u64) -> raft::Result<Vec<eraftpb::Entry>> {
    log.entries(low, high, Some(u64::MAX), GetEntriesContext::empty(true))
}

#[test]
fn a_long_tail_leaves_memory_and_is_asked_for_again() {
    let mut log = LogStore::new();
    let all: Vec<_> = (1..=40).map(|index| entry(index, 1, 1 << 20)).collect();
    log.append(all.clone());
    log.trim(30);
    assert_eq!(log.tail_first(), 26, "16 MiB stay");
    let error = whole(&log, 3, 9).unwrap_err();
    assert!(matches!(
        error,
        raft::Error::Store(StorageError::LogTemporarilyUnavailable)
    ));
    let fetches = log.take_fetches();
    let [Fetch { read, .. }] = fetches.as_slice() else {
        panic!("one fetch")
    };
    assert_eq!((read.from.get(), read.to.get()), (3, 9));

    log.supply_followers(all[2..6].to_vec());
    assert_eq!(
        whole(&log, 3, 9).unwrap(),
        all[2..6],
        "as far as it was supplied"
    );
    assert_eq!(whole(&log, 38, 41).unwrap(), all[37..]);
    assert_eq!(log.term(2).unwrap(), 1, "terms never leave");
    let limited = log
        .entries(38, 41, Some(1), GetEntriesContext::empty(true))
        .unwrap();
    assert_eq!(limited, all[37..38], "one at least");
}

#[test]
fn entries_that_are_not_durable_stay_in_memory_however_many() {
    let mut log = LogStore::new();
    log.append((1..=40).map(|index| entry(index, 1, 1 << 20)).collect());
    log.trim(3);
    assert_eq!(log.tail_first(), 4);
}

#[test]
fn what_is_only_looked_at_for_configuration_changes_needs_no_memory() {
    let mut log = LogStore::new();
    log.append((1..=40).map(|index| entry(index, 1, 1 << 20)).collect());
    log.trim(30);
    let outlines = log
        .entries(1, 41, None, GetEntriesContext::empty(false))
        .unwrap();
    let changes: Vec<_> = outlines
        .iter()
        .filter(|entry| entry.entry_type != 0)
        .map(|entry| entry.index)
        .collect();
    assert_eq!(changes, [5, 10, 15, 20, 25, 30, 35, 40]);
    assert_eq!(outlines.len(), 40);
}

#[test]
fn a_snapshot_is_given_if_it_reaches_the_log_and_asked_for_if_not() {
    let mut log = LogStore::new();
    log.append((1..=9).map(|index| entry(index, 1, 1)).collect());
    log.mark(&marker(6, 1, MarkerOrigin::Compaction));
    assert!(log.snapshot(0, 2).is_err());
    assert!(log.snapshot(0, 2).is_err());
    assert_eq!(log.take_snapshot_wanted(), [2]);
    let offer = |index| eraftpb::Snapshot {
        metadata: Some(eraftpb::SnapshotMetadata {
            index,
            term: 1,
            conf_state: Some(eraftpb::ConfState::from(([1, 2], [3]))),
        }),
        ..eraftpb::Snapshot::default()
    };
    log.offer_snapshot(Some(offer(5)));
    assert!(log.snapshot(0, 2).is_err(), "entry 6 is in neither");
    log.offer_snapshot(Some(offer(6)));
    assert_eq!(log.snapshot(0, 2).unwrap(), offer(6));
    assert_eq!(log.snapshot(0, 3).unwrap(), offer(6));
    assert!(log.snapshot(7, 2).is_err());
    assert!(log.snapshot(0, 4).is_err(), "it knows nothing of member 4");
    log.offer_snapshot(None);
    assert!(log.snapshot(0, 2).is_err());
}

#[derive(Clone, Debug)]
enum Step {
    Append { back: u64, count: u64 },
    Compact { keep: u64 },
    Install { ahead: u64 },
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..5_u64, 1..6_u64).prop_map(|(back, count)| Step::Append { back, count }),
        2 => (0..6_u64).prop_map(|keep| Step::Compact { keep }),
        1 => (0..5_u64).prop_map(|ahead| Step::Install { ahead }),
    ]
}

proptest! {
    #[test]
    fn the_log_is_the_list(steps in prop::collection::vec(any_step(), 1..40)) {
        let mut log = LogStore::new();
        let mut list: Vec<eraftpb::Entry> = Vec::new();
        let mut begins = (0, 0);
        for (term, step) in (1..).zip(steps) {
            let last = begins.0 + list.len() as u64;
            match step {
                Step::Append { back, count } => {
                    let first = (last + 1).saturating_sub(back).max(begins.0 + 1);
                    let entries: Vec<_> =
                        (first..first + count).map(|index| entry(index, term, 3)).collect();
                    list.retain(|entry| entry.index < first);
                    list.extend(entries.clone());
                    log.append(entries);
                }
                Step::Compact { keep } => {
                    let index = last.saturating_sub(keep).max(begins.0);
                    let term = log.term(index).unwrap();
                    begins = (index, term);
                    list.retain(|entry| entry.index > index);
                    log.mark(&marker(index, term, MarkerOrigin::Compaction));
                }
                Step::Install { ahead } => {
                    begins = (last + ahead, term);
                    list.clear();
                    log.mark(&marker(begins.0, term, MarkerOrigin::Snapshot));
                }
            }
            let last = begins.0 + list.len() as u64;
            prop_assert_eq!((log.first(), log.last()), (begins.0 + 1, last));
            prop_assert_eq!(whole(&log, begins.0 + 1, last + 1).unwrap(), list.clone());
            prop_assert_eq!(log.term(begins.0).unwrap(), begins.1);
            for entry in &list {
                prop_assert_eq!(log.term(entry.index).unwrap(), entry.term);
            }
            prop_assert!(log.term(last + 1).is_err());
            if begins.0 > 0 {
                prop_assert!(log.term(begins.0 - 1).is_err());
                prop_assert!(whole(&log, begins.0, last + 1).is_err());
            }
            let outlines = log
                .entries(begins.0 + 1, last + 1, None, GetEntriesContext::empty(false))
                .unwrap();
            let outline = |entry: &eraftpb::Entry| (entry.index, entry.term, entry.entry_type);
            prop_assert!(outlines.iter().map(outline).eq(list.iter().map(outline)));
        }
    }
}

#[test]
fn a_log_whose_first_segments_are_gone_begins_at_the_marker_that_comes_later() {
    for at in [6, 7, 8] {
        let mut log = LogStore::new();
        log.recover(Record::Marker(marker(3, 1, MarkerOrigin::Compaction)));
        for index in 7..=9 {
            log.recover(Record::Entry(entry(index, 2, 1)));
        }
        log.recover(Record::Marker(marker(at, 2, MarkerOrigin::Compaction)));
        assert_eq!(log.first(), at + 1);
        assert_eq!(log.term_of(at), Some(Term::new(2)));
    }
}

#[test]
fn entries_of_the_first_segment_left_that_were_replaced_leave_no_trace() {
    // Segments with entries 4 to 6 are gone, since entry 6 was covered; 7 to 9 had been replaced.
    for (from, covered) in [(4, 6), (5, 6), (6, 6), (7, 8), (4, 3)] {
        let mut log = LogStore::new();
        log.recover(Record::Marker(marker(3, 1, MarkerOrigin::Compaction)));
        for index in 7..=9 {
            log.recover(Record::Entry(entry(index, 2, 1)));
        }
        for index in from..=8 {
            log.recover(Record::Entry(entry(index, 3, 1)));
        }
        let term = if covered < from { 1 } else { 3 };
        log.recover(Record::Marker(marker(
            covered,
            term,
            MarkerOrigin::Compaction,
        )));
        assert_eq!((log.first(), log.last()), (covered + 1, 8), "from {from}");
        assert_eq!(log.term_of(covered), Some(Term::new(term)));
        for index in covered + 1..=8 {
            assert_eq!(log.term_of(index), Some(Term::new(3)));
        }
    }
}
