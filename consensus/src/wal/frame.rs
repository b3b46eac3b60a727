//! Frames: what one write puts into a segment.
//!
//! A frame is whole or absent. Its header is checked for itself, so that a length is never trusted
//! before it is known to be right, and so that recovery can recognise a frame without reading its
//! body. Little-endian:
//!
//! | bytes | what |
//! |---|---|
//! | 0..4 | length of the body, at least 1 |
//! | 4..8 | chain: bytes 12..16 of the frame before; of the segment's header, its CRC |
//! | 8..12 | CRC32C of the body |
//! | 12..16 | CRC32C of bytes 0..12, continued from the segment's CRC |
//! | 16.. | the body: records; then zero bytes up to where the next frame may begin |
//!
//! The first frame of a segment follows its header; all others begin at multiples of the segment's
//! [`FrameAlignment`].

/// The bytes before a frame's body.
pub(super) const FRAME_HEADER_BYTES: usize = 16;

/// Frames begin at multiples of this many bytes: a power of two, from 8 to 64 KiB.
///
/// What a disk loses or scribbles, it does in whole sectors. With frames in sectors of their own, a
/// damaged sector belongs to one frame, and the frame behind it tells that it was durable; nor is a
/// sector that is durable ever written again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameAlignment(u32);

impl FrameAlignment {
    /// That of version 1 of the format, where a sector holds many frames.
    pub const V1: Self = Self(8);
    /// The least that disks write, as they tell.
    pub const SECTOR: Self = Self(512);
    /// What disks of today write in truth, and what file systems and page caches do.
    pub const PAGE: Self = Self(4096);

    /// The alignment that a segment header names; `None` if frames cannot be so aligned.
    pub(super) fn from_header(bytes: u32) -> Option<Self> {
        let possible = bytes.is_power_of_two() && (8..=64 << 10).contains(&bytes);
        possible.then_some(Self(bytes))
    }

    pub(super) fn bytes(self) -> u32 {
        self.0
    }

    /// The first place from `offset` on where a frame may begin.
    pub(super) fn place_from(self, offset: u64) -> u64 {
        offset.next_multiple_of(u64::from(self.0))
    }

    /// Where the frame that begins at `offset`, with a body of this length, ends.
    pub(super) fn frame_end(self, offset: u64, body_bytes: u64) -> u64 {
        self.place_from(offset + FRAME_HEADER_BYTES as u64 + body_bytes)
    }
}

/// A frame's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FrameHeader {
    /// The length of the body.
    pub(super) body_bytes: u32,
    /// The frame before, or the segment's header.
    pub(super) previous: u32,
    /// The CRC of the body.
    pub(super) body_crc: u32,
    /// The CRC of this header: what the next frame names as its `previous`.
    pub(super) crc: u32,
}

impl FrameHeader {
    /// The header of a frame of `body` after `previous` in the segment with CRC `seed`; `None` if
    /// the body is empty or too long for a frame.
    pub(super) fn of_body(body: &[u8], previous: u32, seed: u32) -> Option<Self> {
        let body_bytes = u32::try_from(body.len())
            .ok()
            .filter(|length| *length > 0)?;
        let mut header = Self {
            body_bytes,
            previous,
            body_crc: crc32c::crc32c(body),
            crc: 0,
        };
        header.crc = header.checksum(seed);
        Some(header)
    }

    pub(super) fn encode(&self) -> [u8; FRAME_HEADER_BYTES] {
        let mut bytes = [0; FRAME_HEADER_BYTES];
        let fields = [self.body_bytes, self.previous, self.body_crc, self.crc];
        for (target, field) in bytes.chunks_exact_mut(4).zip(fields) {
            target.copy_from_slice(&field.to_le_bytes());
        }
        bytes
    }

    /// Reads a header; `None` if the bytes are not one of the segment with CRC `seed`.
    pub(super) fn decode(bytes: [u8; FRAME_HEADER_BYTES], seed: u32) -> Option<Self> {
        let mut fields = bytes
            .as_chunks::<4>()
            .0
            .iter()
            .map(|field| u32::from_le_bytes(*field));
        let header = Self {
            body_bytes: fields.next().filter(|length| *length > 0)?,
            previous: fields.next()?,
            body_crc: fields.next()?,
            crc: fields.next()?,
        };
        (header.crc == header.checksum(seed)).then_some(header)
    }

    /// Where the frame ends, if it begins at `offset`.
    pub(super) fn end(&self, offset: u64, alignment: FrameAlignment) -> u64 {
        alignment.frame_end(offset, u64::from(self.body_bytes))
    }

    fn checksum(&self, seed: u32) -> u32 {
        let mut crc = seed;
        for field in [self.body_bytes, self.previous, self.body_crc] {
            crc = crc32c::crc32c_append(crc, &field.to_le_bytes());
        }
        crc
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_has_these_bytes() {
        let header = FrameHeader::of_body(b"body", 0x0102_0304, 0xDEAD_BEEF).unwrap();
        let bytes = header.encode();
        assert_eq!(bytes[..8], [4, 0, 0, 0, 4, 3, 2, 1]);
        assert_eq!(bytes[8..12], crc32c::crc32c(b"body").to_le_bytes());
        assert_eq!(
            bytes[12..],
            crc32c::crc32c_append(0xDEAD_BEEF, &bytes[..12]).to_le_bytes(),
            "the CRC covers what is before it, continued from the segment's"
        );
        assert_eq!(FrameHeader::decode(bytes, 0xDEAD_BEEF), Some(header));
        assert_eq!(header.end(64, FrameAlignment::V1), 88);
        assert_eq!(header.end(64, FrameAlignment::SECTOR), 512);
        assert_eq!(header.end(4096, FrameAlignment::PAGE), 8192);
    }

    #[test]
    fn an_alignment_is_a_power_of_two_within_bounds() {
        for bytes in [8, 512, 4096, 64 << 10] {
            let alignment = FrameAlignment::from_header(bytes).unwrap();
            assert_eq!(alignment.bytes(), bytes);
        }
        for bytes in [0, 4, 500, 128 << 10, u32::MAX] {
            assert_eq!(FrameAlignment::from_header(bytes), None, "{bytes}");
        }
    }

    #[test]
    fn a_changed_bit_or_another_segment_makes_it_no_header() {
        let header = FrameHeader::of_body(b"body", 1, 2).unwrap();
        assert_eq!(FrameHeader::decode(header.encode(), 3), None);
        for bit in 0..FRAME_HEADER_BYTES * 8 {
            let mut bytes = header.encode();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(FrameHeader::decode(bytes, 2), None, "bit {bit}");
        }
        assert_eq!(
            FrameHeader::decode([0; FRAME_HEADER_BYTES], 0),
            None,
            "zeros are no header"
        );
        assert_eq!(FrameHeader::of_body(b"", 0, 0), None);
    }
}
