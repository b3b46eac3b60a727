//! Following HTTP/2 frames as bytes go by, without holding any of them.

/// Bytes of a frame's head: length (3), type (1), flags (1), stream (4).
const HEAD_BYTES: usize = 9;

/// The types of frames that matter here.
pub(super) const DATA: u8 = 0;
pub(super) const HEADERS: u8 = 1;
pub(super) const RST_STREAM: u8 = 3;
pub(super) const PING: u8 = 6;

/// On DATA and HEADERS: the sender is done with the stream.
pub(super) const END_STREAM: u8 = 1;
/// On PING: this is an answer.
pub(super) const ACK: u8 = 1;

/// What a frame's head says, its length aside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FrameHead {
    pub(super) kind: u8,
    pub(super) flags: u8,
    pub(super) stream: u32,
}

/// Where one direction of a connection is between two frames.
///
/// Invariants:
/// 1. `head_len < HEAD_BYTES`.
/// 2. While a payload is left, no head has begun: `payload_left == 0 || head_len == 0`.
#[derive(Debug, Default)]
pub(super) struct FrameFollower {
    head: [u8; HEAD_BYTES],
    head_len: usize,
    payload_left: usize,
}

impl FrameFollower {
    /// Takes the next bytes, and calls `on_frame` for each head that is complete with them.
    pub(super) fn follow(&mut self, mut bytes: &[u8], mut on_frame: impl FnMut(FrameHead)) {
        loop {
            let skipped = self.payload_left.min(bytes.len());
            self.payload_left -= skipped;
            bytes = bytes.split_at(skipped).1;
            let Some((next, after)) = bytes.split_first() else {
                return;
            };
            // Mostly a head comes in one piece.
            if self.head_len == 0
                && let Some((head, rest)) = bytes.split_first_chunk::<HEAD_BYTES>()
            {
                bytes = rest;
                on_frame(self.begin(*head));
                continue;
            }
            if let Some(place) = self.head.get_mut(self.head_len) {
                *place = *next;
            }
            self.head_len += 1;
            bytes = after;
            if self.head_len == HEAD_BYTES {
                self.head_len = 0;
                on_frame(self.begin(self.head));
            }
        }
    }

    /// Whether the next byte begins a frame.
    pub(super) const fn is_between_frames(&self) -> bool {
        self.payload_left == 0 && self.head_len == 0
    }

    fn begin(&mut self, head: [u8; HEAD_BYTES]) -> FrameHead {
        let [a, b, c, kind, flags, s, t, u, v] = head;
        let length = u32::from_be_bytes([0, a, b, c]);
        self.payload_left = usize::try_from(length).unwrap_or(usize::MAX);
        FrameHead {
            kind,
            flags,
            // The first bit is reserved.
            stream: u32::from_be_bytes([s & 0x7f, t, u, v]),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frame(head: FrameHead, length: u8) -> Vec<u8> {
        let mut bytes = vec![0, 0, length, head.kind, head.flags];
        bytes.extend(head.stream.to_be_bytes());
        // A payload that looks like heads must not be taken for one.
        bytes.extend(std::iter::repeat_n(PING, length.into()));
        bytes
    }

    proptest! {
        #[test]
        fn frames_are_seen_however_their_bytes_are_cut(
            frames in prop::collection::vec((0_u8..10, any::<u8>(), 0_u32..1 << 31, 0_u8..40), 0..20),
            cuts in prop::collection::vec(1_usize..30, 1..50),
        ) {
            let heads: Vec<FrameHead> = frames
                .iter()
                .map(|&(kind, flags, stream, _)| FrameHead { kind, flags, stream })
                .collect();
            let bytes: Vec<u8> = heads
                .iter()
                .zip(&frames)
                .flat_map(|(head, frame_of)| frame(*head, frame_of.3))
                .collect();
            let mut follower = FrameFollower::default();
            let mut seen = Vec::new();
            let mut rest = &bytes[..];
            for cut in cuts.iter().cycle() {
                if rest.is_empty() {
                    break;
                }
                let (piece, after) = rest.split_at((*cut).min(rest.len()));
                follower.follow(piece, |head| seen.push(head));
                rest = after;
            }
            prop_assert_eq!(seen, heads);
            prop_assert!(follower.is_between_frames());
        }
    }

    #[test]
    fn a_boundary_is_neither_within_a_head_nor_within_a_payload() {
        let bytes = frame(
            FrameHead {
                kind: DATA,
                flags: 0,
                stream: 1,
            },
            3,
        );
        let mut follower = FrameFollower::default();
        for (place, byte) in bytes.iter().enumerate() {
            assert_eq!(follower.is_between_frames(), place == 0, "{place}");
            follower.follow(&[*byte], |_| ());
        }
        assert!(follower.is_between_frames());
    }
}
