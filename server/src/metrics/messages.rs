//! Counting gRPC messages as the bytes of a body go by.

/// Bytes in front of each message: a flag, and the length in four bytes.
const PREFIX_BYTES: usize = 5;

/// What a piece of a body held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Passed {
    /// Messages that began.
    pub(super) messages: u64,
    /// Bytes, their prefixes aside.
    pub(super) bytes: u64,
}

/// Where a body is between two messages.
///
/// Invariants:
/// 1. `prefix_len < PREFIX_BYTES`.
/// 2. While a message is left, no prefix has begun: `message_left == 0 || prefix_len == 0`.
#[derive(Debug, Default)]
pub(super) struct MessageFollower {
    prefix: [u8; PREFIX_BYTES],
    prefix_len: usize,
    message_left: u64,
}

impl MessageFollower {
    /// Takes the next bytes of the body.
    pub(super) fn follow(&mut self, mut bytes: &[u8]) -> Passed {
        let mut passed = Passed::default();
        loop {
            let skipped = usize::try_from(self.message_left)
                .unwrap_or(usize::MAX)
                .min(bytes.len());
            self.message_left -= skipped as u64;
            passed.bytes += skipped as u64;
            bytes = bytes.split_at(skipped).1;
            let Some((next, rest)) = bytes.split_first() else {
                return passed;
            };
            bytes = rest;
            if let Some(place) = self.prefix.get_mut(self.prefix_len) {
                *place = *next;
            }
            self.prefix_len += 1;
            if self.prefix_len == PREFIX_BYTES {
                let [_, a, b, c, d] = self.prefix;
                self.message_left = u32::from_be_bytes([a, b, c, d]).into();
                self.prefix_len = 0;
                passed.messages += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn messages_are_counted_however_a_body_is_cut(
            lengths in prop::collection::vec(0_u8..40, 0..20),
            cut in 1_usize..60,
        ) {
            let body: Vec<u8> = lengths
                .iter()
                .flat_map(|&length| {
                    let prefix = [0, 0, 0, 0, length];
                    prefix.into_iter().chain(std::iter::repeat_n(1, length.into()))
                })
                .collect();
            let mut follower = MessageFollower::default();
            let mut total = Passed::default();
            for piece in body.chunks(cut) {
                let passed = follower.follow(piece);
                total.messages += passed.messages;
                total.bytes += passed.bytes;
            }
            let bytes = lengths.iter().map(|&length| u64::from(length)).sum();
            prop_assert_eq!(total, Passed { messages: lengths.len() as u64, bytes });
        }
    }
}
