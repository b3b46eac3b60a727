//! Segments: the files of the log, and the header that each begins with.
//!
//! Segment `n` is the file named by `n` as sixteen hexadecimal digits and `.wal`. Its header,
//! little-endian, is written and synced before the file gets that name:
//!
//! | bytes | what |
//! |---|---|
//! | 0..8 | `CAIRNWAL` |
//! | 8..12 | version of the format: 2, or 1 |
//! | 12..16 | in version 2, the frames' alignment; in version 1 zero, and frames are aligned to 8 |
//! | 16..24 | number of the segment; the first is 1 |
//! | 24..32 | id of the cluster |
//! | 32..40 | id of the member |
//! | 40..48 | where the frames of the segment before end; 0 in the first |
//! | 48..52 | chain: CRC of the last frame of the segment before; 0 in the first |
//! | 52..56 | in version 2, 1 if the file held another segment before, and what is behind the frames may be that one's; else zero |
//! | 56..60 | zero |
//! | 60..64 | CRC32C of bytes 0..60, from which the CRCs of the segment's frames continue |

use super::frame::FrameAlignment;
use crate::member_id::{ClusterId, Identity, MemberId};

/// The length of the header; the first frame begins there.
pub(super) const SEGMENT_HEADER_BYTES: usize = 64;

const MAGIC: [u8; 8] = *b"CAIRNWAL";
/// Never renumber: a change of the format is a new number.
const VERSION: u32 = 2;
/// Frames aligned to 8 bytes: read, and written no more.
const VERSION_1: u32 = 1;

/// The header of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SegmentHeader {
    /// The number of the segment.
    pub(super) number: u64,
    /// Whose log this is.
    pub(super) identity: Identity,
    /// Where the frames of the segment before end.
    pub(super) previous_end: u64,
    /// The last frame of the segment before.
    pub(super) previous: u32,
    /// Where frames may begin. [`FrameAlignment::V1`] makes it a header of version 1.
    pub(super) alignment: FrameAlignment,
    /// Whether the file held another segment before; not known of version 1.
    pub(super) recycled: bool,
}

/// Why bytes are no segment header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadSegmentHeader {
    /// It does not begin as one.
    #[error("no segment of a write-ahead log")]
    Magic,
    /// It is of a version that this program does not know.
    #[error("format version {0} is not known")]
    Version(u32),
    /// Its checksum is wrong.
    #[error("checksum of the segment header is wrong")]
    Checksum,
    /// Frames cannot be so aligned.
    #[error("frames cannot be aligned to {0} bytes")]
    Alignment(u32),
    /// The member's id is 0.
    #[error("segment header without a member")]
    NoMember,
}

impl SegmentHeader {
    /// The header's bytes, and its CRC.
    pub(super) fn encode(&self) -> ([u8; SEGMENT_HEADER_BYTES], u32) {
        let mut bytes = Vec::with_capacity(SEGMENT_HEADER_BYTES);
        bytes.extend(MAGIC);
        let (version, alignment) = match self.alignment {
            FrameAlignment::V1 => (VERSION_1, 0),
            alignment => (VERSION, alignment.bytes()),
        };
        bytes.extend(version.to_le_bytes());
        bytes.extend(alignment.to_le_bytes());
        bytes.extend(self.number.to_le_bytes());
        bytes.extend(self.identity.cluster.get().to_le_bytes());
        bytes.extend(self.identity.member.get().to_le_bytes());
        bytes.extend(self.previous_end.to_le_bytes());
        bytes.extend(self.previous.to_le_bytes());
        bytes.extend(u32::from(self.recycled && version == VERSION).to_le_bytes());
        bytes.extend([0; 4]);
        let crc = crc32c::crc32c(&bytes);
        bytes.extend(crc.to_le_bytes());
        let mut header = [0; SEGMENT_HEADER_BYTES];
        header.copy_from_slice(&bytes);
        (header, crc)
    }

    /// Reads a header, and its CRC.
    pub(super) fn decode(
        bytes: &[u8; SEGMENT_HEADER_BYTES],
    ) -> Result<(Self, u32), BadSegmentHeader> {
        if !bytes.starts_with(&MAGIC) {
            return Err(BadSegmentHeader::Magic);
        }
        let crc = u32_at(bytes, 60);
        if crc32c::crc32c(bytes.split_at(60).0) != crc {
            return Err(BadSegmentHeader::Checksum);
        }
        let alignment = u32_at(bytes, 12);
        let (alignment, recycled) = match u32_at(bytes, 8) {
            VERSION_1 => (FrameAlignment::V1, true),
            VERSION => (
                FrameAlignment::from_header(alignment)
                    .ok_or(BadSegmentHeader::Alignment(alignment))?,
                u32_at(bytes, 52) != 0,
            ),
            version => return Err(BadSegmentHeader::Version(version)),
        };
        let member = MemberId::from_wire(u64_at(bytes, 32)).ok_or(BadSegmentHeader::NoMember)?;
        let header = Self {
            number: u64_at(bytes, 16),
            identity: Identity {
                cluster: ClusterId::new(u64_at(bytes, 24)),
                member,
            },
            previous_end: u64_at(bytes, 40),
            previous: u32_at(bytes, 48),
            alignment,
            recycled,
        };
        Ok((header, crc))
    }
}

/// The name of segment `number`.
pub(super) fn segment_name(number: u64) -> String {
    format!("{number:016x}.wal")
}

/// The number of the segment of this name; `None` if it is none.
pub(super) fn segment_number(name: &str) -> Option<u64> {
    let digits = name
        .strip_suffix(".wal")
        .filter(|digits| digits.len() == 16)?;
    let number = u64::from_str_radix(digits, 16).ok()?;
    (segment_name(number) == name).then_some(number)
}

fn u32_at(bytes: &[u8; SEGMENT_HEADER_BYTES], offset: usize) -> u32 {
    let field = bytes.get(offset..).and_then(|rest| rest.first_chunk());
    field.map_or(0, |field| u32::from_le_bytes(*field))
}

fn u64_at(bytes: &[u8; SEGMENT_HEADER_BYTES], offset: usize) -> u64 {
    let field = bytes.get(offset..).and_then(|rest| rest.first_chunk());
    field.map_or(0, |field| u64::from_le_bytes(*field))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> SegmentHeader {
        SegmentHeader {
            number: 0x0102,
            identity: Identity {
                cluster: ClusterId::new(0xC1),
                member: MemberId::from_wire(0xA1).unwrap(),
            },
            previous_end: 0x0304,
            previous: 0x0506_0708,
            alignment: FrameAlignment::PAGE,
            recycled: true,
        }
    }

    #[test]
    fn a_header_has_these_bytes() {
        let (bytes, crc) = header().encode();
        let mut expected = b"CAIRNWAL\x02\0\0\0\0\x10\0\0".to_vec();
        expected.extend([2, 1, 0, 0, 0, 0, 0, 0]);
        expected.extend([0xC1, 0, 0, 0, 0, 0, 0, 0]);
        expected.extend([0xA1, 0, 0, 0, 0, 0, 0, 0]);
        expected.extend([4, 3, 0, 0, 0, 0, 0, 0]);
        expected.extend([8, 7, 6, 5, 1, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(bytes[..60], expected);
        assert_eq!(bytes[60..], crc.to_le_bytes());
        assert_eq!(crc, crc32c::crc32c(&expected));
        assert_eq!(SegmentHeader::decode(&bytes), Ok((header(), crc)));
    }

    #[test]
    fn a_header_of_version_1_has_these_bytes() {
        let old = SegmentHeader {
            alignment: FrameAlignment::V1,
            ..header()
        };
        let (bytes, crc) = old.encode();
        assert_eq!(bytes[..16], *b"CAIRNWAL\x01\0\0\0\0\0\0\0");
        assert_eq!(bytes[48..60], [8, 7, 6, 5, 0, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(SegmentHeader::decode(&bytes), Ok((old, crc)));
    }

    #[test]
    fn a_changed_bit_makes_it_no_header() {
        for bit in 0..SEGMENT_HEADER_BYTES * 8 {
            let (mut bytes, _) = header().encode();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(SegmentHeader::decode(&bytes).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn a_version_of_the_future_is_named() {
        let (mut bytes, _) = header().encode();
        bytes[8] = 3;
        let crc = crc32c::crc32c(&bytes[..60]);
        bytes[60..].copy_from_slice(&crc.to_le_bytes());
        assert_eq!(
            SegmentHeader::decode(&bytes),
            Err(BadSegmentHeader::Version(3))
        );
    }

    #[test]
    fn names_and_numbers_go_both_ways() {
        assert_eq!(segment_name(0x2a), "000000000000002a.wal");
        assert_eq!(segment_number("000000000000002a.wal"), Some(0x2a));
        for other in [
            "2a.wal",
            "000000000000002A.wal",
            "spare-1.wal",
            "000000000000002a.tmp",
        ] {
            assert_eq!(segment_number(other), None, "{other}");
        }
    }
}
