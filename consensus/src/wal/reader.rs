//! Reads frames off a segment, a window at a time.

use std::io;
use std::sync::Arc;

use bytes::Bytes;

use super::frame::{FRAME_ALIGNMENT, FRAME_HEADER_BYTES, FrameHeader};
use crate::disk::DiskFile;

/// How much is read at once, if a frame is not longer.
const WINDOW_BYTES: u64 = 256 << 10;

/// Windows end with a page: a page that was looked at counts as data to [`DiskFile::next_data`].
const PAGE_BYTES: u64 = 4096;

/// How far apart headers may be.
const PLACE_BYTES: usize = 8;
const _: () = assert!(PLACE_BYTES as u64 == FRAME_ALIGNMENT);

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
    limit: u64,
    window: Vec<u8>,
    window_start: u64,
}

impl FrameReader {
    /// A reader of the segment with CRC `seed`, up to `limit`.
    pub(super) fn new(file: Arc<dyn DiskFile>, seed: u32, limit: u64) -> Self {
        Self {
            file,
            seed,
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
        if offset + header.frame_bytes() > self.limit {
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

    /// Whether a frame's header stands anywhere from `offset`, an aligned place, on.
    ///
    /// This goes through the rest of the segment, at each start; what was never written is passed
    /// over by the disk's own knowledge, zeros at the speed of memory.
    pub(super) fn has_header_from(&mut self, offset: u64) -> io::Result<bool> {
        let limit = self.limit;
        let mut at = offset;
        while at < limit {
            let Some(data) = self.file.next_data(at)? else {
                return Ok(false);
            };
            at = at.max(data - data % FRAME_ALIGNMENT);
            let end = limit.min(window_end(at));
            let block = self.bytes(at, usize::try_from(end - at).map_err(io::Error::other)?)?;
            if is_zero(block) {
                at = end;
                continue;
            }
            // A header begins with a length that is not zero and fits the segment.
            let places = block
                .as_chunks::<PLACE_BYTES>()
                .0
                .iter()
                .zip((at..).step_by(PLACE_BYTES));
            let plausible = places.filter(|([a, b, c, d, ..], _)| {
                let length = u32::from_le_bytes([*a, *b, *c, *d]);
                length != 0 && u64::from(length) < limit
            });
            let candidates: Vec<u64> = plausible.map(|(_, place)| place).collect();
            for place in candidates {
                if self.header(place)?.is_some() {
                    return Ok(true);
                }
            }
            at = end;
        }
        Ok(false)
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

/// Whether all of it is zeros: piece by piece, so that a start does not wait for a whole segment byte
/// by byte.
fn is_zero(bytes: &[u8]) -> bool {
    let (pieces, rest) = bytes.as_chunks::<64>();
    let any = |bytes: &[u8]| bytes.iter().fold(0, |any, byte| any | byte);
    pieces.iter().all(|piece| any(piece) == 0) && any(rest) == 0
}
