//! The bytes of a stream, and what is none.

use super::*;

const HEADER: TransferHeader = TransferHeader {
    applied: Applied { index: 17, term: 3 },
    expected_bytes: 9,
};

#[test]
fn the_bytes_of_a_stream_are_these() {
    let mut checksum = Checksum::default();
    let mut rows = RowsWriter::new(Table::Lease, 0);
    rows.push(b"key", b"value");
    let totals = Totals { rows: 1, bytes: 8 };
    let begin = checksum.begin(&HEADER);
    let rows = checksum.rows(rows);
    let end = checksum.end(totals);
    assert_eq!(
        begin[4..],
        *b"\x01CAIRNSNP\0\x01\0\0\0\0\0\0\0\x11\0\0\0\0\0\0\0\x03\0\0\0\0\0\0\0\x09"
    );
    assert_eq!(rows[4..], *b"\x02\x05lease\0\x03key\0\0\0\x05value");
    assert_eq!(end[4..], *b"\x03\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\x08");
    let all = [&begin[4..], &rows[4..], &end[4..]].concat();
    assert_eq!(end[..4], crc32c::crc32c(&all).to_be_bytes());
}

#[test]
fn a_chunk_that_is_changed_missing_or_twice_is_refused() {
    let mut checksum = Checksum::default();
    let begin = checksum.begin(&HEADER);
    let end = checksum.end(Totals::default());
    for at in 0..begin.len() {
        let mut changed = begin.clone();
        changed[at] ^= 1;
        let read = Checksum::default().read(&changed);
        assert_eq!(read, Err(TransferError::Checksum), "byte {at}");
    }
    assert_eq!(Checksum::default().read(&end), Err(TransferError::Checksum));
    let mut reader = Checksum::default();
    assert_eq!(reader.read(&begin), Ok(Chunk::Begin(HEADER)));
    assert_eq!(reader.read(&begin), Err(TransferError::Checksum));
    assert_eq!(reader.read(&end), Ok(Chunk::End(Totals::default())));
}

#[test]
fn what_no_sender_makes_is_refused_without_a_panic() {
    let bodies: [&[u8]; 9] = [
        b"",
        b"\x00",
        b"\x01",
        b"\x01CAIRNSNP\0\x02",
        b"\x01SOMETHIN\0\x01\0\0\0\0\0\0\0\x11\0\0\0\0\0\0\0\x03\0\0\0\0\0\0\0\x09",
        b"\x02\x09lease",
        b"\x02\x03xyz",
        b"\x03\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
        b"\x04",
    ];
    for body in bodies {
        let chunk = [&crc32c::crc32c(body).to_be_bytes(), body].concat();
        Checksum::default().read(&chunk).unwrap_err();
    }
    Checksum::default().read(b"\0\0").unwrap_err();
    for rows in [&b"\0"[..], b"\0\x05key", b"\0\x03key\xff\xff\xff\xff"] {
        assert_eq!(
            Rows(rows).collect::<Vec<_>>(),
            [Err(TransferError::Malformed)]
        );
    }
}
