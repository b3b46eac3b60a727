//! Damage to what was durable is refused wherever it is; what an honest crash leaves is not.

use super::*;

/// As on real disks, but for the length of segments.
const PAGED: WalOptions = WalOptions {
    segment_bytes: 16 * 4096,
    frame_alignment: FrameAlignment::PAGE,
    durability: Durability::Sync,
};

/// As logs of version 1 were written.
const PACKED: WalOptions = WalOptions {
    frame_alignment: FrameAlignment::V1,
    ..PAGED
};

/// What happens to a stretch of a disk.
#[derive(Clone, Copy, Debug)]
enum Harm {
    Zeros,
    Ones,
    /// Bytes from a seed.
    Noise(u64),
    /// What stands so many bytes before.
    Misdirected(u64),
}

fn any_harm() -> impl Strategy<Value = Harm> {
    prop_oneof![
        Just(Harm::Zeros),
        Just(Harm::Ones),
        any::<u64>().prop_map(Harm::Noise),
        (1..9_u64).prop_map(|pages| Harm::Misdirected(pages * 512)),
    ]
}

fn bytes_at(disk: &FaultDisk, file: &str, offset: u64, length: u64) -> Vec<u8> {
    let mut bytes = vec![0; usize::try_from(length).unwrap()];
    let file = disk.open(file).unwrap();
    file.read_at(&mut bytes, offset).unwrap();
    bytes
}

fn harmed(disk: &FaultDisk, file: &str, offset: u64, length: u64, harm: Harm) -> Vec<u8> {
    let count = usize::try_from(length).unwrap();
    match harm {
        Harm::Zeros => vec![0; count],
        Harm::Ones => vec![0xFF; count],
        Harm::Noise(seed) => {
            let mut chance = crate::seeded::Seeded::new(seed);
            let byte = |_| u8::try_from(chance.below(256)).unwrap();
            (0..count).map(byte).collect()
        }
        Harm::Misdirected(back) => bytes_at(disk, file, offset.saturating_sub(back), length),
    }
}

fn open_with(disk: &FaultDisk, options: WalOptions) -> Result<(Wal, Model), WalError> {
    let mut model = Model::default();
    let wal = Wal::open(Arc::new(disk.clone()), options, &mut |record| {
        model.record(record);
    })?;
    Ok((wal, model))
}

/// A log of frames of so many bytes of data each; the log, its model before the last frame, and
/// where that begins.
fn written(disk: &FaultDisk, options: WalOptions, frames: &[usize]) -> (Wal, Model, FrameOffset) {
    let first = LogWrite::default();
    let mut wal = Wal::create(Arc::new(disk.clone()), identity(), options, &first).unwrap();
    let mut model = Model::default();
    let mut last = None;
    for (index, bytes) in (1..).zip(frames) {
        let write = entries(index..index + 1, 1, *bytes);
        wal.append(&write).unwrap();
        last = wal.offsets.find(LogIndex::new(index)).map(|_| index);
        model.apply(&write);
    }
    assert!(last.is_some());
    let segment = wal.segments.back().unwrap();
    let mut reader = FrameReader::new(segment, wal.position);
    let mut offset = SEGMENT_HEADER_BYTES as u64;
    let mut place = offset;
    while offset < wal.position {
        let FrameAt::Whole { header, .. } = reader.frame(offset).unwrap() else {
            panic!("a frame at {offset}");
        };
        place = offset;
        offset = header.end(offset, segment.alignment);
    }
    let place = FrameOffset {
        segment: segment.number,
        offset: place,
    };
    (wal, model, place)
}

proptest! {
    /// The whole of it: whatever happens to a sector or a page, but the last frame's.
    #[test]
    fn a_harmed_sector_before_the_last_frame_is_refused_or_makes_no_difference(
        frames in prop::collection::vec(0..9000_usize, 2..40),
        sectors in prop_oneof![Just(1_u64), Just(8)],
        at: prop::sample::Index,
        harm in any_harm(),
    ) {
        let disk = FaultDisk::new(1);
        let (wal, model, last) = written(&disk, PAGED, &frames);
        let places: Vec<(u64, u64)> = wal
            .segments
            .iter()
            .flat_map(|segment| {
                let end = if segment.number == last.segment { last.offset } else { PAGED.segment_bytes };
                let unit = sectors * 512;
                (0..end / unit).map(move |page| (segment.number, page * unit))
            })
            .collect();
        drop(wal);
        prop_assume!(!places.is_empty());
        let (segment, offset) = *at.get(&places);
        let name = segment_name(segment);
        let bytes = harmed(&disk, &name, offset, sectors * 512, harm);
        disk.corrupt(&name, offset, &bytes).unwrap();
        match open_with(&disk, PAGED) {
            Ok((_, found)) => prop_assert_eq!(found, model, "padding, or nothing changed"),
            Err(WalError::Corrupt { file, offset: told, .. }) => {
                prop_assert!(file == name, "{file} is named for {name}");
                prop_assert!(told < offset + sectors * 512, "{told} is named for {offset}");
            }
            Err(error) => prop_assert!(false, "{error}"),
        }
    }

    /// The other side: no crash is taken for damage, whatever of the last write survives, and in
    /// a file full of another segment's frames.
    #[test]
    fn a_crash_in_any_write_is_not_taken_for_damage(
        frames in prop::collection::vec(0..20_000_usize, 1..60),
        last in 0..30_000_usize,
        seed: u64,
        operation in 0..3_u64,
    ) {
        let disk = FaultDisk::new(seed);
        let first = LogWrite::default();
        let mut wal = Wal::create(Arc::new(disk.clone()), identity(), PAGED, &first).unwrap();
        let mut index = 0;
        for bytes in &frames {
            index += 1;
            wal.append(&entries(index..index + 1, 1, *bytes)).unwrap();
            if index % 7 == 0 {
                wal.append(&marker(index - 1, 1, MarkerOrigin::Compaction)).unwrap();
                wal.release().unwrap();
            }
        }
        disk.script(disk.operations() + operation, Fault::PowerCut);
        let acknowledged = wal.append(&entries(index + 1..index + 2, 1, last)).is_ok();
        disk.crash(Survival::Random);
        disk.clear_script();
        let (_, found) = open_with(&disk, PAGED).unwrap();
        prop_assert!(found.last() == index + 1 || (!acknowledged && found.last() == index));
    }

    /// In logs of version 1 a sector holds many frames; what is behind it tells all the same.
    #[test]
    fn a_harmed_page_in_a_packed_log_is_refused_if_frames_follow_it(
        page in 0..12_u64,
        harm in prop_oneof![Just(Harm::Zeros), any::<u64>().prop_map(Harm::Noise)],
    ) {
        let disk = FaultDisk::new(1);
        let (wal, _, _) = written(&disk, PACKED, &[100; 380]);
        prop_assert_eq!(wal.segment_count(), 1);
        prop_assert!(wal.position > 14 * 4096);
        drop(wal);
        let name = segment_name(1);
        let bytes = harmed(&disk, &name, page * 4096, 4096, harm);
        disk.corrupt(&name, page * 4096, &bytes).unwrap();
        let refused = matches!(open_with(&disk, PAGED), Err(WalError::Corrupt { .. }));
        prop_assert!(refused);
    }
}

#[test]
fn a_log_of_version_1_is_read_and_goes_on_in_pages() {
    let disk = FaultDisk::new(1);
    let (wal, mut model, _) = written(&disk, PACKED, &[100; 30]);
    assert_eq!(
        (wal.segment_count(), wal.segments[0].alignment),
        (1, FrameAlignment::V1)
    );
    drop(wal);
    let (mut wal, found) = open_with(&disk, PAGED).unwrap();
    assert_eq!(found, model);
    assert_eq!(wal.segments[1].alignment, FrameAlignment::PAGE);
    let more = entries(31..35, 2, 50);
    wal.append(&more).unwrap();
    model.apply(&more);
    assert_eq!(read_all(&wal, &model), model.entries);
    drop(wal);
    let (wal, found) = open_with(&disk, PAGED).unwrap();
    assert_eq!(found, model);
    assert_eq!(wal.segment_count(), 2, "and no other is begun each time");
}

#[test]
fn what_is_cut_is_told_with_its_place_and_length() {
    let disk = FaultDisk::new(1);
    let (wal, _, last) = written(&disk, PAGED, &[100, 5000, 6000]);
    assert_eq!(wal.tail(), None);
    let end = wal.position;
    drop(wal);
    let (wal, _) = open_with(&disk, PAGED).unwrap();
    assert_eq!(wal.tail().unwrap().kind, TailKind::Clean);
    assert_eq!(wal.tail().unwrap().offset, end);
    drop(wal);

    let name = segment_name(1);
    disk.corrupt(&name, last.offset + 4096, &[0; 512]).unwrap();
    let (wal, found) = open_with(&disk, PAGED).unwrap();
    assert_eq!(found.last(), 2);
    let tail = wal.tail().unwrap();
    let bytes = end - last.offset;
    assert_eq!(tail.kind, TailKind::Torn { bytes });
    assert_eq!(
        tail.to_string(),
        format!(
            "{name} ends at offset {}; {bytes} bytes of an unfinished write are cut (or of the \
             last one, damaged: what it held is sent by other members, if there are any that have \
             it)",
            last.offset
        )
    );
    drop(wal);

    disk.corrupt(&name, last.offset, &[0; 512]).unwrap();
    let (wal, _) = open_with(&disk, PAGED).unwrap();
    assert!(
        matches!(wal.tail().unwrap().kind, TailKind::Torn { bytes } if bytes > 5000),
        "its first sector is gone too, but the file was all zeros before: {:?}",
        wal.tail()
    );
}

/// Whose checksums are right, so that no rot made them.
#[test]
fn frames_whose_entries_do_not_follow_one_another_or_have_no_next_are_refused() {
    for (indexes, told) in [
        ([1, 3], "entry 3 stands behind entry 1 in one frame"),
        ([2, 1], "entry 1 stands behind entry 2 in one frame"),
        (
            [u64::MAX - 1, u64::MAX],
            "entry index cannot be 18446744073709551615",
        ),
    ] {
        let mut body = Vec::new();
        for index in indexes {
            record::push_entry(&mut body, &entry(index, 1, 10));
        }
        let length = u16::try_from(body.len()).unwrap().to_le_bytes();
        let disk = FaultDisk::new(1);
        fuzzed::write(&disk, &[&length, body.as_slice()].concat()).unwrap();
        let refused = open_with(&disk, fuzzed::OPTIONS).err().unwrap().to_string();
        assert!(refused.contains(told), "{refused}");
    }
}

#[test]
fn a_spare_that_cannot_be_made_stops_nothing() {
    let operations = {
        let disk = FaultDisk::new(0);
        let wal = Wal::create(
            Arc::new(disk.clone()),
            identity(),
            PAGED,
            &LogWrite::default(),
        );
        drop(wal.unwrap());
        disk.operations()
    };
    let disk = FaultDisk::new(1);
    let first = LogWrite::default();
    let mut wal = Wal::create(Arc::new(disk.clone()), identity(), PAGED, &first).unwrap();
    // Written, synced; then the spare.
    disk.script(operations + 2, Fault::Error);
    wal.append(&entries(1..2, 1, 100)).unwrap();
    assert_eq!(
        disk.history().last(),
        Some(&Operation::Remove),
        "its room is given back"
    );
    let warning = wal.take_warning().unwrap().to_string();
    assert!(warning.starts_with("cannot create spare-"), "{warning}");
    assert!(wal.take_warning().is_none(), "told once");
    for index in 2..40 {
        wal.append(&entries(index..index + 1, 1, 100)).unwrap();
    }
    assert!(wal.segment_count() > 2, "a segment that is needed is made");
}
