//! Reads frames off a segment, a window at a time.

use std::io;
use std::sync::Arc;

use bytes::Bytes;

use super::frame::{FRAME_ALIGNMENT, FRAME_HEADER_BYTES, FrameHeader};
use crate::disk::DiskFile;

/// How much is read at once, if a frame is not longer.
const WINDOW_BYTES: usize = 256 << 10;

/// How much is looked through at once for a header.
const BLOCK_BYTES: u64 = 4096;

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
    /// This goes through the rest of the segment, at each start: zeros, which nearly all of it is
    /// when the segment is new, are passed over at the speed of memory.
    pub(super) fn has_header_from(&mut self, offset: u64) -> io::Result<bool> {
        let limit = self.limit;
        let mut at = offset;
        while at < limit {
            let block = limit.min(at + BLOCK_BYTES) - at;
            let bytes = self.bytes(at, usize::try_from(block).map_err(io::Error::other)?)?;
            // A header begins with a length that is not zero and fits the segment.
            let plausible = |place: &[u8; PLACE_BYTES]| {
                let [a, b, c, d, ..] = *place;
                let length = u32::from_le_bytes([a, b, c, d]);
                length != 0 && u64::from(length) < limit
            };
            let places: Vec<u64> = if bytes.iter().all(|byte| *byte == 0) {
                Vec::new()
            } else {
                let places = bytes
                    .as_chunks::<PLACE_BYTES>()
                    .0
                    .iter()
                    .zip((at..).step_by(PLACE_BYTES));
                places
                    .filter(|(place, _)| plausible(place))
                    .map(|(_, at)| at)
                    .collect()
            };
            for place in places {
                if self.header(place)?.is_some() {
                    return Ok(true);
                }
            }
            at += block;
        }
        Ok(false)
    }

    /// `length` bytes at `offset`, which must end within the limit.
    fn bytes(&mut self, offset: u64, length: usize) -> io::Result<&[u8]> {
        let window_end = self.window_start + self.window.len() as u64;
        if offset < self.window_start || offset + length as u64 > window_end {
            let left = usize::try_from(self.limit.saturating_sub(offset)).unwrap_or(usize::MAX);
            self.window.resize(length.max(WINDOW_BYTES.min(left)), 0);
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
