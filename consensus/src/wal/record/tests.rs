//! Records to bytes and back.

use proptest::prelude::*;

use super::*;

fn member(id: u64) -> MemberId {
    MemberId::from_wire(id).unwrap()
}

fn encode(record: &Record) -> Vec<u8> {
    let mut body = Vec::new();
    match record {
        Record::Entry(entry) => push_entry(&mut body, entry),
        Record::HardState(state) => push_hard_state(&mut body, state),
        Record::Marker(marker) => push_marker(&mut body, marker),
    }
    body
}

fn decode(bytes: &[u8]) -> Result<Vec<Record>, BadRecord> {
    let mut body = Bytes::copy_from_slice(bytes);
    let mut records = Vec::new();
    while let Some(record) = take_record(&mut body)? {
        records.push(record);
    }
    Ok(records)
}

fn marker() -> Record {
    Record::Marker(Marker {
        index: LogIndex::new(0x0102),
        term: Term::new(3),
        conf_state: ConfState {
            voters: vec![member(1), member(2)],
            learners: vec![member(4)],
            voters_outgoing: vec![member(5)],
            learners_next: vec![member(5)],
            auto_leave: true,
        },
        origin: MarkerOrigin::Snapshot,
    })
}

#[test]
fn an_entry_has_these_bytes() {
    let mut entry = eraftpb::Entry {
        term: 0x0102,
        index: 0x0304,
        data: Bytes::from_static(b"put"),
        ..eraftpb::Entry::default()
    };
    let mut expected = vec![1, 20, 0, 0, 0];
    expected.extend([0, 2, 1, 0, 0, 0, 0, 0, 0, 4, 3, 0, 0, 0, 0, 0, 0]);
    expected.extend(b"put");
    assert_eq!(encode(&Record::Entry(entry.clone())), expected);
    entry.set_entry_type(eraftpb::EntryType::EntryConfChange);
    expected[5] = 1;
    assert_eq!(encode(&Record::Entry(entry.clone())), expected);
    assert_eq!(expected.len(), ENTRY_OVERHEAD_BYTES + 3);
}

#[test]
fn a_hard_state_has_these_bytes() {
    let state = eraftpb::HardState {
        term: 1,
        vote: 2,
        commit: 0x0304,
    };
    let mut expected = vec![2, 24, 0, 0, 0];
    expected.extend([
        1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 4, 3, 0, 0, 0, 0, 0, 0,
    ]);
    assert_eq!(encode(&Record::HardState(state)), expected);
}

#[test]
fn a_marker_has_these_bytes() {
    let mut expected = vec![3, 74, 0, 0, 0];
    expected.extend([1, 2, 1, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 1]);
    for list in [&[1_u8, 2][..], &[4], &[5], &[5]] {
        expected.extend([u8::try_from(list.len()).unwrap(), 0, 0, 0]);
        for id in list {
            expected.extend([*id, 0, 0, 0, 0, 0, 0, 0]);
        }
    }
    assert_eq!(encode(&marker()), expected);
    assert_eq!(decode(&expected).unwrap(), [marker()]);
}

#[test]
fn every_cut_and_every_extra_byte_is_refused() {
    let state = Record::HardState(eraftpb::HardState {
        term: 1,
        vote: 2,
        commit: 3,
    });
    for record in [marker(), state] {
        let bytes = encode(&record);
        for cut in 1..bytes.len() {
            assert_eq!(decode(&bytes[..cut]), Err(BadRecord::Short), "cut at {cut}");
        }
        let mut longer = bytes.clone();
        longer.push(0);
        longer[1] += 1;
        assert_eq!(decode(&longer), Err(BadRecord::Long(1)));
    }
    assert_eq!(decode(&[9, 0, 0, 0, 0]), Err(BadRecord::Type(9)));
    assert_eq!(
        decode(&[
            1, 17, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0
        ]),
        Err(BadRecord::Value {
            field: "entry type",
            value: 2
        })
    );
}

fn any_record() -> impl Strategy<Value = Record> {
    let members = || prop::collection::vec((1..u64::MAX).prop_map(member), 0..4);
    let entry = (
        any::<u64>(),
        1..u64::MAX,
        prop::collection::vec(any::<u8>(), 0..64),
        0..2_i32,
    );
    prop_oneof![
        entry.prop_map(
            |(term, index, data, entry_type)| Record::Entry(eraftpb::Entry {
                entry_type,
                term,
                index,
                data: data.into(),
                ..eraftpb::Entry::default()
            })
        ),
        any::<[u64; 3]>().prop_map(|[term, vote, commit]| {
            Record::HardState(eraftpb::HardState { term, vote, commit })
        }),
        (any::<[u64; 2]>(), members(), members(), any::<bool>()).prop_map(
            |([index, term], voters, learners, flag)| Record::Marker(Marker {
                index: LogIndex::new(index),
                term: Term::new(term),
                conf_state: ConfState {
                    voters,
                    learners,
                    auto_leave: flag,
                    ..ConfState::default()
                },
                origin: if flag {
                    MarkerOrigin::Snapshot
                } else {
                    MarkerOrigin::Compaction
                },
            })
        ),
    ]
}

proptest! {
    #[test]
    fn records_come_back_as_they_went(records in prop::collection::vec(any_record(), 0..8)) {
        let bytes: Vec<u8> = records.iter().flat_map(encode).collect();
        prop_assert_eq!(decode(&bytes).unwrap(), records);
    }

    #[test]
    fn any_bytes_are_records_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..96)) {
        let _ = decode(&bytes);
    }
}
