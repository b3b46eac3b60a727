//! Numbers for requests, unique over all members and restarts.

use std::sync::atomic::{AtomicU64, Ordering};

use cairn_consensus::MemberId;

/// The number that ties a log entry to the request that waits for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RequestId(u64);

impl RequestId {
    /// The number as a log entry carries it; zero means that nobody waits.
    pub const fn from_wire(id: u64) -> Option<Self> {
        if id == 0 { None } else { Some(Self(id)) }
    }

    /// The number for a log entry.
    pub const fn to_wire(self) -> u64 {
        self.0
    }
}

/// Hands out request numbers.
///
/// Layout, as etcd has it: 16 bits of the member, 40 bits of the milliseconds at start, 8 bits of
/// counter that overflow into the milliseconds. A restarted member therefore starts above what it
/// handed out before, unless it did so at more than 256 a millisecond all along.
#[derive(Debug)]
pub struct RequestIds(AtomicU64);

impl RequestIds {
    /// Numbers of `member`, which starts at `start_millis` since the epoch.
    pub fn new(member: MemberId, start_millis: u64) -> Self {
        const MILLIS_MASK: u64 = (1 << 40) - 1;
        let prefix = (member.get() & 0xffff) << 48;
        Self(AtomicU64::new(prefix | (start_millis & MILLIS_MASK) << 8))
    }

    /// The next number.
    pub fn next(&self) -> RequestId {
        loop {
            if let Some(id) = RequestId::from_wire(self.0.fetch_add(1, Ordering::Relaxed) + 1) {
                return id;
            }
        }
    }
}
