//! The log on disks that tear, lose and refuse.

use std::collections::BTreeMap;

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::disk::{Fault, FaultDisk, Operation, Survival};
use crate::member_id::{ClusterId, MemberId};
use crate::term::Term;

mod damage;

/// Segments so short that a few writes fill one.
const OPTIONS: WalOptions = WalOptions {
    segment_bytes: SEGMENT_BYTES_MIN,
    frame_alignment: FrameAlignment::SECTOR,
    durability: Durability::Sync,
};

fn identity() -> Identity {
    Identity {
        cluster: ClusterId::new(0xC1),
        member: MemberId::from_wire(0xA1).unwrap(),
    }
}

fn entry(index: u64, term: u64, bytes: usize) -> eraftpb::Entry {
    let data: Vec<u8> = (0..=u8::MAX)
        .cycle()
        .skip(7 * usize::from(index.is_multiple_of(2)))
        .take(bytes)
        .collect();
    eraftpb::Entry {
        index,
        term,
        data: data.into(),
        ..eraftpb::Entry::default()
    }
}

fn entries(range: std::ops::Range<u64>, term: u64, bytes: usize) -> LogWrite {
    LogWrite {
        hard_state: Some(eraftpb::HardState {
            term,
            vote: 1,
            commit: range.start - 1,
        }),
        marker: None,
        entries: range.map(|index| entry(index, term, bytes)).collect(),
    }
}

fn marker(index: u64, term: u64, origin: MarkerOrigin) -> LogWrite {
    let marker = Marker {
        index: LogIndex::new(index),
        term: Term::new(term),
        origin,
        ..Marker::default()
    };
    LogWrite {
        marker: Some(marker),
        ..LogWrite::default()
    }
}

/// What a log should hold.
#[derive(Clone, Debug, Default, PartialEq)]
struct Model {
    hard_state: eraftpb::HardState,
    marker: u64,
    entries: BTreeMap<u64, eraftpb::Entry>,
}

impl Model {
    fn apply(&mut self, write: &LogWrite) {
        if let Some(state) = write.hard_state {
            self.hard_state = state;
        }
        if let Some(marker) = &write.marker {
            self.record(Record::Marker(marker.clone()));
        }
        for entry in &write.entries {
            self.record(Record::Entry(entry.clone()));
        }
    }

    fn record(&mut self, record: Record) {
        match record {
            Record::HardState(state) => self.hard_state = state,
            Record::Entry(entry) => {
                self.entries.split_off(&entry.index);
                self.entries.insert(entry.index, entry);
            }
            Record::Marker(marker) => {
                if marker.origin == MarkerOrigin::Snapshot {
                    self.entries.clear();
                }
                self.marker = marker.index.get();
                self.entries = self.entries.split_off(&(self.marker + 1));
            }
        }
    }

    fn last(&self) -> u64 {
        self.entries
            .last_key_value()
            .map_or(self.marker, |(last, _)| *last)
    }
}

fn create(disk: &FaultDisk) -> Result<Wal, WalError> {
    Wal::create(
        Arc::new(disk.clone()),
        identity(),
        OPTIONS,
        &LogWrite::default(),
    )
}

fn open(disk: &FaultDisk) -> Result<(Wal, Model), WalError> {
    let mut model = Model::default();
    let wal = Wal::open(Arc::new(disk.clone()), OPTIONS, &mut |record| {
        model.record(record);
    })?;
    // Entries before a marker that was written later may be gone with their segments.
    model.entries = model.entries.split_off(&(model.marker + 1));
    Ok((wal, model))
}

fn read_all(wal: &Wal, model: &Model) -> BTreeMap<u64, eraftpb::Entry> {
    let to = LogIndex::new(model.last() + 1);
    let read = wal
        .read(LogIndex::new(model.marker + 1), to, usize::MAX)
        .unwrap();
    read.into_iter().map(|entry| (entry.index, entry)).collect()
}

/// Writes that fill several segments, replace entries, and compact.
fn script() -> Vec<LogWrite> {
    vec![
        entries(1..2, 1, 10),
        entries(2..6, 1, 200),
        entries(6..7, 1, 1500),
        entries(5..9, 2, 300),
        entries(9..10, 2, 0),
        marker(4, 1, MarkerOrigin::Compaction),
        entries(10..14, 2, 700),
        entries(14..15, 3, 2000),
        marker(12, 2, MarkerOrigin::Compaction),
        entries(15..40, 3, 90),
        marker(100, 4, MarkerOrigin::Snapshot),
        entries(101..104, 4, 600),
        entries(104..105, 4, 40),
    ]
}

/// Runs the script until the disk refuses; the writes that were acknowledged, and whether even
/// the creation was.
fn run(disk: &FaultDisk) -> (bool, Vec<LogWrite>) {
    let Ok(mut wal) = create(disk) else {
        return (false, Vec::new());
    };
    let mut acknowledged = Vec::new();
    for write in script() {
        if wal.append(&write).is_err() {
            assert!(matches!(wal.append(&write), Err(WalError::Poisoned)));
            assert!(matches!(wal.release(), Err(WalError::Poisoned)));
            return (true, acknowledged);
        }
        let compacts = write.marker.is_some();
        acknowledged.push(write);
        if compacts && wal.release().is_err() {
            return (true, acknowledged);
        }
    }
    (true, acknowledged)
}

fn model_of(writes: &[LogWrite]) -> Model {
    let mut model = Model::default();
    writes.iter().for_each(|write| model.apply(write));
    model
}

/// What a log may hold after a write that was not acknowledged: nothing of it, or as much as
/// its first frames.
fn outcomes(before: &Model, write: Option<&LogWrite>) -> Vec<Model> {
    let mut outcomes = vec![before.clone()];
    if let Some(write) = write {
        for count in write.entries.len().min(1)..=write.entries.len() {
            let mut after = before.clone();
            let entries = write.entries[..count].to_vec();
            after.apply(&LogWrite {
                entries,
                ..write.clone()
            });
            outcomes.push(after);
        }
    }
    outcomes
}

/// After a fault, the log must hold what was acknowledged, or that and the write under way.
fn check_recovered(disk: &FaultDisk, created: bool, acknowledged: &[LogWrite], story: &str) {
    let (mut wal, found) = match open(disk) {
        Err(WalError::NotFound) if !created => return,
        Err(error) => panic!("{story}: {error}"),
        Ok(opened) => opened,
    };
    let outcomes = outcomes(&model_of(acknowledged), script().get(acknowledged.len()));
    assert!(outcomes.contains(&found), "{story}: {found:?}");
    assert_eq!(read_all(&wal, &found), found.entries, "{story}");

    // It goes on from there, and is found again.
    let more = entries(found.last() + 1..found.last() + 4, 9, 500);
    wal.append(&more).unwrap();
    drop(wal);
    disk.crash(Survival::Nothing);
    let (_, again) = open(disk).unwrap();
    let mut expected = found;
    expected.apply(&more);
    assert_eq!(again, expected, "{story}, and once more");
}

#[test]
fn power_cut_at_any_operation_loses_nothing_acknowledged() {
    let operations = {
        let disk = FaultDisk::new(0);
        assert_eq!(run(&disk).1.len(), script().len());
        disk.operations()
    };
    for at in 0..operations {
        let survivals = (0..3)
            .map(|_| Survival::Random)
            .chain((0..7).map(Survival::Prefix))
            .chain([Survival::Nothing, Survival::Everything]);
        for (seed, survival) in (0..).zip(survivals) {
            let disk = FaultDisk::new(seed * 1000 + at);
            disk.script(at, Fault::PowerCut);
            let (created, acknowledged) = run(&disk);
            disk.crash(survival);
            let story = format!("power cut at operation {at}, {survival:?}, seed {seed}");
            check_recovered(&disk, created, &acknowledged, &story);
        }
    }
}

#[test]
fn failed_and_short_operations_poison_and_lose_nothing_acknowledged() {
    let operations = {
        let disk = FaultDisk::new(0);
        run(&disk);
        disk.operations()
    };
    for at in 0..operations {
        for fault in [
            Fault::Error,
            Fault::Short { bytes: 7 },
            Fault::Short { bytes: 600 },
        ] {
            for crash in [None, Some(Survival::Nothing), Some(Survival::Random)] {
                let disk = FaultDisk::new(at);
                disk.script(at, fault);
                let (created, acknowledged) = run(&disk);
                if let Some(survival) = crash {
                    disk.crash(survival);
                }
                let story = format!("{fault:?} at operation {at}, then {crash:?}");
                check_recovered(&disk, created, &acknowledged, &story);
            }
        }
    }
}

/// A log of one segment with four frames, and where they begin and end.
fn four_frames(disk: &FaultDisk) -> (Vec<LogWrite>, Vec<u64>) {
    let mut wal = create(disk).unwrap();
    let writes = vec![
        entries(1..2, 1, 20),
        entries(2..5, 1, 33),
        entries(5..6, 1, 700),
        entries(6..8, 1, 41),
    ];
    let mut ends = vec![wal.position];
    for write in &writes {
        wal.append(write).unwrap();
        ends.push(wal.position);
    }
    (writes, ends)
}

/// The bytes of the first segment.
fn segment_bytes(disk: &FaultDisk) -> Vec<u8> {
    let mut bytes = vec![0; usize::try_from(OPTIONS.segment_bytes).unwrap()];
    disk.open(&segment_name(1))
        .unwrap()
        .read_at(&mut bytes, 0)
        .unwrap();
    bytes
}

#[test]
fn tail_torn_at_any_byte_is_cut_whatever_was_there_before() {
    for filler in [0_u8, 0xFF, 0x10] {
        let (_, ends) = four_frames(&FaultDisk::new(1));
        let (begin, end) = (ends[3], ends[4]);
        for cut in begin..end {
            let disk = FaultDisk::new(1);
            let (writes, _) = four_frames(&disk);
            let lost = vec![filler; usize::try_from(end - cut).unwrap()];
            let before = segment_bytes(&disk);
            disk.corrupt(&segment_name(1), cut, &lost).unwrap();
            let padding_only = segment_bytes(&disk) == before
                || before[usize::try_from(cut).unwrap()..usize::try_from(end).unwrap()]
                    .iter()
                    .all(|byte| *byte == 0);
            let (_, found) = open(&disk).unwrap();
            let whole = if padding_only {
                &writes[..]
            } else {
                &writes[..3]
            };
            assert_eq!(found, model_of(whole), "cut at {cut}, filled with {filler}");
        }
    }
}

#[test]
fn torn_beginnings_of_the_tail_are_cut_too() {
    let disk = FaultDisk::new(1);
    let (writes, ends) = four_frames(&disk);
    for length in 1..=(ends[4] - ends[3]) {
        let disk = FaultDisk::new(1);
        four_frames(&disk);
        let lost = vec![0; usize::try_from(length).unwrap()];
        disk.corrupt(&segment_name(1), ends[3], &lost).unwrap();
        assert_eq!(
            open(&disk).unwrap().1,
            model_of(&writes[..3]),
            "first {length} bytes lost"
        );
    }
}

#[test]
fn damage_before_the_tail_refuses_with_file_and_offset() {
    let (_, ends) = four_frames(&FaultDisk::new(1));
    for at in 0..ends[3] {
        let disk = FaultDisk::new(1);
        four_frames(&disk);
        let flipped = [!segment_bytes(&disk)[usize::try_from(at).unwrap()]];
        let before = open(&disk).unwrap().1;
        disk.corrupt(&segment_name(1), at, &flipped).unwrap();
        let begins = ends.iter().rev().find(|end| **end <= at).copied();
        let expected = match begins {
            Some(begins) => begins,
            None if at < SEGMENT_HEADER_BYTES as u64 => 0,
            None => SEGMENT_HEADER_BYTES as u64,
        };
        match open(&disk) {
            Err(WalError::Corrupt { file, offset, .. }) => {
                assert_eq!(
                    (file.as_str(), offset),
                    ("0000000000000001.wal", expected),
                    "byte {at}"
                );
            }
            // A frame's padding is not looked at.
            Ok((_, found)) => assert_eq!(found, before, "byte {at}"),
            Err(error) => panic!("byte {at}: {error}"),
        }
    }
}

#[test]
fn lost_frames_before_the_tail_are_damage_even_if_they_are_all_zero() {
    let disk = FaultDisk::new(1);
    let (_, ends) = four_frames(&disk);
    let lost = vec![0; usize::try_from(ends[3] - ends[1]).unwrap()];
    disk.corrupt(&segment_name(1), ends[1], &lost).unwrap();
    let Err(error) = open(&disk) else {
        panic!("the log opened")
    };
    assert_eq!(
        error.to_string(),
        format!(
            "write-ahead log is corrupt: 0000000000000001.wal at offset {}: a frame that was \
             durable is broken, since one that was written later is at offset {}; what was \
             acknowledged from there on cannot be read: restore the data directory from before the \
             damage, or remove this member from its cluster and add it again with an empty one",
            ends[1], ends[3]
        )
    );
}

#[test]
fn damage_at_the_end_of_a_full_segment_is_no_torn_tail() {
    let disk = FaultDisk::new(1);
    let mut wal = create(&disk).unwrap();
    let mut end = 0;
    while wal.segment_count() == 1 {
        end = wal.position;
        let next = wal
            .offsets
            .find(LogIndex::new(1))
            .map_or(1, |(_, end)| end.get());
        wal.append(&entries(next..next + 1, 1, 300)).unwrap();
    }
    disk.corrupt(&segment_name(1), end - 512, &[1]).unwrap();
    assert!(matches!(
        open(&disk),
        Err(WalError::Corrupt { file, damage: Damage::Frame, .. }) if file == segment_name(1)
    ));
}

#[test]
fn missing_mixed_up_and_misnamed_segments_refuse() {
    let filled = || {
        let disk = FaultDisk::new(1);
        let mut wal = create(&disk).unwrap();
        for index in 1..20 {
            wal.append(&entries(index..index + 1, 1, 900)).unwrap();
        }
        assert!(wal.segment_count() >= 4);
        disk
    };
    let disk = filled();
    disk.remove(&segment_name(2)).unwrap();
    assert!(matches!(open(&disk), Err(WalError::Missing { number: 2 })));

    let disk = filled();
    disk.rename(&segment_name(3), &segment_name(2)).unwrap();
    assert!(matches!(open(&disk), Err(WalError::Missing { number: 3 })));
    disk.rename(&segment_name(4), &segment_name(3)).unwrap();
    assert!(matches!(
        open(&disk),
        Err(WalError::Corrupt {
            damage: Damage::Misnamed { number: 3 },
            ..
        } | WalError::Missing { .. })
    ));

    let disk = filled();
    let header = SegmentHeader {
        number: 2,
        identity: Identity {
            cluster: ClusterId::new(0xC2),
            ..identity()
        },
        previous_end: 0,
        previous: 0,
        alignment: FrameAlignment::SECTOR,
        recycled: false,
    };
    disk.corrupt(&segment_name(2), 0, &header.encode().0)
        .unwrap();
    assert!(matches!(open(&disk), Err(WalError::Identity { .. })));

    assert!(matches!(open(&FaultDisk::new(1)), Err(WalError::NotFound)));
    assert!(matches!(create(&filled()), Err(WalError::Exists)));
}

#[test]
fn entries_that_cannot_be_written_are_refused_without_harm() {
    let disk = FaultDisk::new(1);
    let mut wal = create(&disk).unwrap();
    let limit = wal.entry_bytes_max();
    let large = entries(1..2, 1, limit + 1);
    assert!(matches!(wal.append(&large), Err(WalError::TooLarge { .. })));
    let gap = LogWrite {
        entries: vec![entry(1, 1, 1), entry(3, 1, 1)],
        ..LogWrite::default()
    };
    assert!(matches!(
        wal.append(&gap),
        Err(WalError::NotConsecutive { .. })
    ));
    let largest = entries(1..2, 1, limit);
    wal.append(&largest).unwrap();
    assert_eq!(open(&disk).unwrap().1, model_of(&[largest]));
    for segment_bytes in [0, SEGMENT_BYTES_MIN - 8, SEGMENT_BYTES_MIN + 1, 8 << 30] {
        let options = WalOptions {
            segment_bytes,
            ..OPTIONS
        };
        let disk = Arc::new(FaultDisk::new(1));
        assert!(matches!(
            Wal::create(disk, identity(), options, &LogWrite::default()),
            Err(WalError::SegmentBytes { .. })
        ));
    }
}

#[test]
fn a_log_that_is_compacted_lives_in_a_bounded_number_of_files() {
    let disk = FaultDisk::new(1);
    let mut wal = create(&disk).unwrap();
    let mut written = Vec::new();
    for index in 1..300 {
        written.push(entries(index..index + 1, 1, 400));
        wal.append(&written[written.len() - 1]).unwrap();
        if index % 10 == 0 {
            written.push(marker(index - 3, 1, MarkerOrigin::Compaction));
            wal.append(&written[written.len() - 1]).unwrap();
            wal.release().unwrap();
            assert!(disk.list().unwrap().len() <= 8, "{:?}", disk.list());
            assert!(wal.disk_bytes() <= 8 * OPTIONS.segment_bytes);
        }
    }
    let creations = disk
        .history()
        .iter()
        .filter(|operation| **operation == Operation::Create)
        .count();
    assert!(
        creations <= 8,
        "segments are recycled, not made: {creations}"
    );
    let (wal, found) = open(&disk).unwrap();
    assert_eq!(found, model_of(&written));
    assert_eq!(read_all(&wal, &found), found.entries);
    assert!(matches!(
        wal.read(LogIndex::new(1), LogIndex::new(5), 99),
        Err(WalError::NoEntry { .. })
    ));
}

#[test]
fn reads_stop_at_the_limit_but_give_one_entry_at_least() {
    let disk = FaultDisk::new(1);
    let mut wal = create(&disk).unwrap();
    wal.append(&entries(1..9, 1, 100)).unwrap();
    let lengths = |from, to, bytes| {
        wal.read(LogIndex::new(from), LogIndex::new(to), bytes)
            .unwrap()
            .len()
    };
    assert_eq!(lengths(1, 9, 350), 3);
    assert_eq!(lengths(3, 9, 0), 1);
    assert_eq!(lengths(3, 5, usize::MAX), 2);
    assert_eq!(lengths(5, 5, usize::MAX), 0);
}

#[test]
fn without_fsync_nothing_is_synced_but_new_segments_are_named_all_the_same() {
    let disk = FaultDisk::new(1);
    let options = WalOptions {
        durability: Durability::UnsafeNoSync,
        ..OPTIONS
    };
    let write = LogWrite::default();
    let mut wal = Wal::create(Arc::new(disk.clone()), identity(), options, &write).unwrap();
    for index in 1..20 {
        wal.append(&entries(index..index + 1, 1, 900)).unwrap();
    }
    assert_eq!(
        disk.history()
            .iter()
            .filter(|op| **op == Operation::Sync)
            .count(),
        0
    );
    assert_eq!(open(&disk).unwrap().1.last(), 19);
}

#[test]
fn what_a_recycled_segment_held_is_never_read() {
    // A segment is given back full of frames, and used again; then the power fails after its
    // first frame. The old frames are right behind it, at places where frames may begin.
    let disk = FaultDisk::new(1);
    let mut wal = create(&disk).unwrap();
    let mut written = Vec::new();
    for index in 1..60 {
        written.push(entries(index..index + 1, 1, 200));
        wal.append(&written[written.len() - 1]).unwrap();
        if index % 5 == 0 {
            written.push(marker(index, 1, MarkerOrigin::Compaction));
            wal.append(&written[written.len() - 1]).unwrap();
            wal.release().unwrap();
        }
        disk.crash(Survival::Nothing);
        let (opened, found) = open(&disk).unwrap();
        assert_eq!(found, model_of(&written), "after entry {index}");
        wal = opened;
    }
}

#[derive(Clone, Debug)]
enum Step {
    Append { back: u64, count: u64, bytes: usize },
    Compact { keep: u64 },
    Install { ahead: u64 },
    Reopen,
    Crash { operations: u64, survival: Survival },
}

fn any_step() -> impl Strategy<Value = Step> {
    let survival = prop_oneof![
        Just(Survival::Nothing),
        Just(Survival::Everything),
        Just(Survival::Random),
        (0..20_usize).prop_map(Survival::Prefix),
    ];
    prop_oneof![
        6 => (0..4_u64, 1..6_u64, 0..900_usize)
            .prop_map(|(back, count, bytes)| Step::Append { back, count, bytes }),
        2 => (0..6_u64).prop_map(|keep| Step::Compact { keep }),
        1 => (1..9_u64).prop_map(|ahead| Step::Install { ahead }),
        1 => Just(Step::Reopen),
        2 => (0..12_u64, survival)
            .prop_map(|(operations, survival)| Step::Crash { operations, survival }),
    ]
}

fn write_of(step: &Step, model: &Model, term: u64) -> Option<LogWrite> {
    match *step {
        Step::Append { back, count, bytes } => {
            let first = (model.last() + 1)
                .saturating_sub(back)
                .max(model.marker + 1);
            Some(entries(first..first + count, term, bytes))
        }
        Step::Compact { keep } => {
            let index = model.last().saturating_sub(keep).max(model.marker);
            Some(marker(index, term, MarkerOrigin::Compaction))
        }
        Step::Install { ahead } => Some(marker(model.last() + ahead, term, MarkerOrigin::Snapshot)),
        Step::Reopen | Step::Crash { .. } => None,
    }
}

proptest! {
    #[test]
    fn any_history_is_found_again(steps in prop::collection::vec(any_step(), 1..60), seed: u64) {
        let disk = FaultDisk::new(seed);
        let mut wal = create(&disk).unwrap();
        let mut model = Model::default();
        let mut survival = Survival::Random;
        for (term, step) in (1..).zip(&steps) {
            let write = write_of(step, &model, term);
            let done = match (&write, step) {
                (Some(write), _) => {
                    let done = wal.append(write).is_ok();
                    if done {
                        model.apply(write);
                    }
                    // A power cut while a spare was made is seen by what comes next.
                    done && (write.marker.is_none() || wal.release().is_ok())
                        && wal.take_warning().is_none()
                }
                (None, Step::Crash { operations, survival: chosen }) => {
                    survival = *chosen;
                    disk.script(disk.operations() + operations, Fault::PowerCut);
                    continue;
                }
                (None, _) => false,
            };
            if !done {
                drop(wal);
                if !matches!(step, Step::Reopen) {
                    disk.crash(survival);
                }
                // The power may fail during recovery, too.
                let mut attempts = 0;
                let opened = loop {
                    match open(&disk) {
                        Ok(opened) => break opened,
                        Err(error) => prop_assert!(attempts < steps.len(), "{error}"),
                    }
                    attempts += 1;
                    disk.crash(survival);
                };
                wal = opened.0;
                prop_assert!(outcomes(&model, write.as_ref()).contains(&opened.1));
                model = opened.1;
            }
            prop_assert_eq!(read_all(&wal, &model), model.entries.clone());
        }
    }

    #[test]
    fn random_bytes_in_a_segment_are_an_error_or_a_shorter_log(
        at in 64_u64..4000,
        noise in prop::collection::vec(any::<u8>(), 1..90),
    ) {
        let disk = FaultDisk::new(1);
        let (writes, _) = four_frames(&disk);
        disk.corrupt(&segment_name(1), at, &noise).unwrap();
        if let Ok((_, found)) = open(&disk) {
            let prefix = (0..=writes.len()).any(|count| found == model_of(&writes[..count]));
            prop_assert!(prefix, "{found:?}");
        }
    }
}

#[test]
fn a_frame_has_these_bytes() {
    let disk = FaultDisk::new(1);
    let mut wal = create(&disk).unwrap();
    let at = usize::try_from(wal.position).unwrap();
    let (seed, chain) = (wal.segments[0].seed, wal.chain);
    let data = Bytes::from_static(b"put");
    let entry = eraftpb::Entry {
        index: 1,
        term: 1,
        data,
        ..eraftpb::Entry::default()
    };
    wal.append(&LogWrite {
        entries: vec![entry],
        ..LogWrite::default()
    })
    .unwrap();

    let mut body = vec![
        1, 20, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0,
    ];
    body.extend(b"put");
    let mut expected = vec![25, 0, 0, 0];
    expected.extend(chain.to_le_bytes());
    expected.extend(crc32c::crc32c(&body).to_le_bytes());
    expected.extend(crc32c::crc32c_append(seed, &expected).to_le_bytes());
    expected.extend(body);
    expected.resize(512, 0);
    assert_eq!(segment_bytes(&disk)[at..at + 512], expected);
}
