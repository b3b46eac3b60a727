//! Reads frames off a segment, a window at a time.

use std::io;
use std::sync::Arc;

use bytes::Bytes;

use super::Segment;
use super::frame::{FRAME_HEADER_BYTES, FrameAlignment, FrameHeader};
use crate::disk::DiskFile;

/// How much is read at once, if a frame is not longer.
const WINDOW_BYTES: u64 = 256 << 10;

/// Windows end with a page: a page that was looked at counts as data to [`DiskFile::next_data`].
const PAGE_BYTES: u64 = 4096;

/// The steps in which bytes are looked through: headers are never closer.
const STEP_BYTES: usize = 8;

/// What stands behind the last whole frame of a segment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Rest {
    /// The first place where a frame's header stands.
    pub(super) header: Option<u64>,
    /// Where the last bytes end that are not zero, if there are any.
    pub(super) data_end: Option<u64>,
}

/// What is at a place in a segment.
pub(super) enum FrameAt {
    /// A whole frame.
    Whole {
        /// Its header.
        header: FrameHeader,
        /// Its body.
        body: Bytes,
    },
    /// A whole header without the body it names.
    Headless {
        /// The header.
        header: FrameHeader,
    },
    /// No frame.
    Nothing,
}

/// A reader of one segment.
pub(super) struct FrameReader {
    file: Arc<dyn DiskFile>,
    seed: u32,
    alignment: FrameAlignment,
    limit: u64,
    window: Vec<u8>,
    window_start: u64,
}

impl FrameReader {
    /// A reader of a segment, up to `limit`.
    pub(super) fn new(segment: &Segment, limit: u64) -> Self {
        Self {
            file: Arc::clone(&segment.file),
            seed: segment.seed,
            alignment: segment.alignment,
            limit,
            window: Vec::new(),
            window_start: 0,
        }
    }

    /// What is at `offset`.
    pub(super) fn frame(&mut self, offset: u64) -> io::Result<FrameAt> {
        let Some(header) = self.header(offset)? else {
            return Ok(FrameAt::Nothing);
        };
        if header.end(offset, self.alignment) > self.limit {
            return Ok(FrameAt::Headless { header });
        }
        let length = usize::try_from(header.body_bytes).map_err(io::Error::other)?;
        let body = self.bytes(offset + FRAME_HEADER_BYTES as u64, length)?;
        if crc32c::crc32c(body) != header.body_crc {
            return Ok(FrameAt::Headless { header });
        }
        Ok(FrameAt::Whole {
            header,
            body: Bytes::copy_from_slice(body),
        })
    }

    /// The header at `offset`, if there is one.
    pub(super) fn header(&mut self, offset: u64) -> io::Result<Option<FrameHeader>> {
        if offset + FRAME_HEADER_BYTES as u64 > self.limit {
            return Ok(None);
        }
        let seed = self.seed;
        let bytes = self.bytes(offset, FRAME_HEADER_BYTES)?;
        Ok(bytes
            .first_chunk()
            .and_then(|bytes| FrameHeader::decode(*bytes, seed)))
    }

    /// What stands from `offset`, a multiple of 8, on.
    ///
    /// This goes through the rest of the segment, at each start; what was never written is passed
    /// over by the disk's own knowledge, zeros at the speed of memory.
    pub(super) fn rest_from(&mut self, offset: u64) -> io::Result<Rest> {
        let mut rest = Rest::default();
        let mut at = offset;
        while at < self.limit {
            let Some(data) = self.file.next_data(at)? else {
                break;
            };
            at = at.max(data - data % STEP_BYTES as u64);
            let end = self.limit.min(window_end(at));
            let (alignment, limit) = (self.alignment, self.limit);
            let block = self.bytes(at, usize::try_from(end - at).map_err(io::Error::other)?)?;
            if let Some(data_end) = data_end(block) {
                rest.data_end = Some(at + data_end as u64);
                for place in plausible_places(block, at, alignment, limit) {
                    if self.header(place)?.is_some() {
                        rest.header = Some(place);
                        return Ok(rest);
                    }
                }
            }
            at = end;
        }
        Ok(rest)
    }

    /// `length` bytes at `offset`, which must end within the limit.
    fn bytes(&mut self, offset: u64, length: usize) -> io::Result<&[u8]> {
        let cached_end = self.window_start + self.window.len() as u64;
        if offset < self.window_start || offset + length as u64 > cached_end {
            let end = self
                .limit
                .min(window_end(offset))
                .max(offset + length as u64);
            self.window
                .resize(usize::try_from(end - offset).map_err(io::Error::other)?, 0);
            self.window_start = offset;
            if let Err(error) = self.file.read_at(&mut self.window, offset) {
                self.window.clear();
                return Err(error);
            }
        }
        let start = usize::try_from(offset - self.window_start).map_err(io::Error::other)?;
        self.window
            .get(start..start + length)
            .ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }
}

/// Where a window that begins at `offset` ends, if the file does not end before.
fn window_end(offset: u64) -> u64 {
    let end = offset + WINDOW_BYTES;
    end - end % PAGE_BYTES
}

/// Where in `block`, which stands at `at`, a header may be: it begins with a length that is not zero
/// and fits the segment.
fn plausible_places(block: &[u8], at: u64, alignment: FrameAlignment, limit: u64) -> Vec<u64> {
    let first = alignment.place_from(at);
    let skip = usize::try_from(first - at).unwrap_or(usize::MAX);
    let step = alignment.bytes() as usize / STEP_BYTES;
    let steps = block
        .get(skip..)
        .unwrap_or_default()
        .as_chunks::<STEP_BYTES>()
        .0;
    let places = (first..).step_by(alignment.bytes() as usize);
    let heads = steps.iter().step_by(step).zip(places);
    let plausible = heads.filter(|([a, b, c, d, ..], _)| {
        let length = u32::from_le_bytes([*a, *b, *c, *d]);
        length != 0 && u64::from(length) < limit
    });
    plausible.map(|(_, place)| place).collect()
}

/// Where the last byte ends that is not zero: piece by piece, so that a start does not wait for a
/// whole segment byte by byte.
fn data_end(bytes: &[u8]) -> Option<usize> {
    const PIECE_BYTES: usize = 64;
    let any = |bytes: &[u8]| bytes.iter().fold(0, |any, byte| any | byte) != 0;
    let piece = bytes.chunks(PIECE_BYTES).rposition(any)?;
    let start = piece * PIECE_BYTES;
    let within = bytes
        .get(start..)?
        .iter()
        .take(PIECE_BYTES)
        .rposition(|byte| *byte != 0)?;
    Some(start + within + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_ends_with_the_last_byte_that_is_not_zero() {
        assert_eq!(data_end(&[0; 200]), None);
        for at in [0, 63, 64, 150, 199] {
            let mut bytes = [0; 200];
            bytes[0] = 1;
            bytes[at] = 1;
            assert_eq!(data_end(&bytes), Some(at + 1));
        }
    }

    #[test]
    fn headers_are_looked_for_at_aligned_places_alone() {
        let block = [1; 2048];
        let places = |at, alignment| plausible_places(&block, at, alignment, 1 << 30);
        assert_eq!(places(512, FrameAlignment::SECTOR), [512, 1024, 1536, 2048]);
        assert_eq!(
            places(520, FrameAlignment::SECTOR),
            [1024, 1536, 2048, 2560]
        );
        assert_eq!(places(520, FrameAlignment::PAGE), [0_u64; 0]);
        assert_eq!(places(8, FrameAlignment::V1).len(), 256);
    }
}
