//! Scans: pinned to their revision, and stopped by a compaction that overtakes them.

use std::num::NonZeroUsize;
use std::ops::ControlFlow;

use cairn_mvcc::{KeyRange, KvFields, RangeQuery, RangeScan, ReadError, ScanProgress, SortOrder};

use crate::model::Operation;
use crate::script::Subject;

fn filled() -> Subject {
    let mut subject = Subject::new();
    let put = |key: &'static str| Operation::Put {
        key: key.into(),
        value: "old".into(),
        lease: 0,
    };
    subject.write(&[["a", "b", "c", "d"].map(put).to_vec()]);
    subject
}

fn next(scan: &mut RangeScan, pairs_max: usize) -> Result<(String, ScanProgress), ReadError> {
    let mut keys = String::new();
    let pairs_max = NonZeroUsize::new(pairs_max).unwrap();
    let progress = scan.next_chunk(pairs_max, &mut |kv| {
        assert_eq!(kv.fields().unwrap().value, b"old");
        keys.push_str(std::str::from_utf8(kv.key).unwrap());
        ControlFlow::Continue(())
    });
    Ok((keys, progress?))
}

#[test]
fn writes_between_chunks_are_not_seen() {
    for order in [SortOrder::None, SortOrder::Descend] {
        let mut subject = filled();
        let mut query = RangeQuery::new(KeyRange::All);
        query.order = order;
        let mut scan = subject.store.scan(&query).unwrap();
        let (first, progress) = next(&mut scan, 2).unwrap();
        assert_eq!((first.len(), progress), (2, ScanProgress::More));
        subject.write(&[vec![Operation::Delete(KeyRange::All)]]);
        let (rest, progress) = next(&mut scan, 9).unwrap();
        let ScanProgress::Done(summary) = progress else {
            panic!("nothing is left");
        };
        assert_eq!((rest.len(), summary.count, summary.more), (2, 4, false));
        assert_eq!(
            summary.revision.to_wire(),
            2,
            "the revision that the scan began at"
        );
        assert_eq!(next(&mut scan, 9).unwrap(), (String::new(), progress));
    }
}

#[test]
fn a_scan_that_a_compaction_overtakes_fails() {
    for order in [SortOrder::None, SortOrder::Descend] {
        let mut subject = filled();
        let mut query = RangeQuery::new(KeyRange::All);
        query.order = order;
        let mut scan = subject.store.scan(&query).unwrap();
        next(&mut scan, 1).unwrap();
        subject.compact(0);
        next(&mut scan, 1).unwrap();
        subject.write(&[vec![Operation::Delete(KeyRange::All)]]);
        subject.compact(0);
        assert!(matches!(
            next(&mut scan, 1),
            Err(ReadError::Compacted { .. })
        ));
    }
}

#[test]
fn a_chunk_ends_where_its_reader_breaks_off() {
    let subject = filled();
    let mut query = RangeQuery::new(KeyRange::All);
    query.limit = NonZeroUsize::new(3);
    let mut scan = subject.store.scan(&query).unwrap();
    let mut keys = Vec::new();
    let chunks = std::iter::from_fn(|| {
        let before = keys.len();
        let progress = scan.next_chunk(NonZeroUsize::MAX, &mut |kv| {
            keys.push(kv.key.to_vec());
            ControlFlow::Break(())
        });
        (keys.len() > before).then_some(progress.unwrap())
    });
    let last = chunks.last();
    assert_eq!(keys, [b"a", b"b", b"c"]);
    assert!(
        matches!(last, Some(ScanProgress::Done(summary)) if summary.more && summary.count == 4)
    );
}

#[test]
fn a_reader_that_breaks_off_anywhere_gets_every_pair_once_and_in_order() {
    let mut subject = Subject::new();
    let put = |number: u64| Operation::Put {
        key: format!("{:05}", number * 7919 % 5000).into(),
        value: number.to_string().into(),
        lease: 0,
    };
    for numbers in [0..2500, 2500..5000] {
        subject.write(&[numbers.map(put).collect()]);
        subject.store.backend().commit().unwrap();
    }
    subject.write(&[(0..5000).step_by(50).map(put).collect()]);
    for (limit, takes) in [(4000, [2000, 1]), (4999, [1024, 40]), (9999, [3, 700])] {
        let mut query = RangeQuery::new(KeyRange::All);
        query.limit = NonZeroUsize::new(limit);
        let mut wanted = Vec::new();
        let summary = subject
            .store
            .range(&query, &mut |kv| wanted.push(kv.encoded.to_vec()));
        assert_eq!(wanted.len(), limit.min(5000));
        assert!(wanted.iter().zip(0..).all(|(kv, number)| {
            KvFields::parse(kv).unwrap().key == format!("{number:05}").as_bytes()
        }));

        let mut scan = subject.store.scan(&query).unwrap();
        let mut got = Vec::new();
        let mut takes = takes.into_iter().cycle();
        let done = loop {
            let until = got.len() + takes.next().unwrap();
            let progress = scan.next_chunk(NonZeroUsize::new(1500).unwrap(), &mut |kv| {
                got.push(kv.encoded.to_vec());
                if got.len() < until {
                    ControlFlow::Continue(())
                } else {
                    ControlFlow::Break(())
                }
            });
            if let ScanProgress::Done(summary) = progress.unwrap() {
                break summary;
            }
        };
        assert!(got == wanted, "limit {limit}");
        assert_eq!(done, summary.unwrap());
    }
}
