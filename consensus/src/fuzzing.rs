//! What reads from outside, as functions of any bytes: for the fuzzers in `fuzz/`, and for a short run
//! in this crate's tests. None of them may panic.

use std::sync::Arc;

use cairn_proto::raftpb;
use prost::Message as _;
use raft::eraftpb::{Entry, HardState};

use crate::disk::FaultDisk;
use crate::log_index::LogIndex;
use crate::node::read_back;
use crate::wal;
use crate::{ClusterId, FirstMember, Identity, MemberId, Node, NodeOptions};

/// A log whose last frames have these bodies, each behind its length in two bytes, is refused or
/// read: then every entry is there, and a second recovery finds the same.
///
/// # Panics
///
/// If not.
pub fn frames(bodies: &[u8]) {
    let disk = FaultDisk::new(1);
    if wal::fuzzed::write(&disk, bodies).is_err() {
        return;
    }
    if let Some(found) = recover(&disk) {
        assert_eq!(recover(&disk), Some(found), "a recovery changes nothing");
    }
}

/// All entries of the log on `disk`, and the hard state; none if it is refused.
fn recover(disk: &FaultDisk) -> Option<(HardState, Vec<Entry>)> {
    let (wal, log) = read_back(Arc::new(disk.clone()), wal::fuzzed::OPTIONS).ok()?;
    let (first, end) = (log.first(), log.last() + 1);
    let read = wal.read(LogIndex::new(first), LogIndex::new(end), usize::MAX);
    assert!(read.is_ok(), "{read:?}: what is not refused can be read");
    let entries = read.unwrap_or_default();
    let indexes: Vec<_> = entries.iter().map(|entry| entry.index).collect();
    assert_eq!(indexes, (first..end).collect::<Vec<_>>(), "all entries");
    Some((log.hard_state(), entries))
}

/// What a follower of three gets from its peers: messages one after the other, each behind its length
/// in two bytes.
///
/// # Panics
///
/// If a message that the checks let pass makes raft or the log fail.
pub fn messages(bytes: &[u8]) {
    let Some(mut node) = follower() else {
        return;
    };
    for message in parts(bytes) {
        let Ok(mut message) = raftpb::Message::decode(message) else {
            continue;
        };
        // Who is not asked, is not answered: chance finds the two numbers too seldom.
        message.to = Some(1);
        message.from = Some(message.from.unwrap_or_default() % 4);
        // What is refused is told; what shows that a member has forgotten ends it.
        if let Err(error) = node.driver().step(message)
            && matches!(error, crate::StepError::Contradiction { .. })
        {
            return;
        }
        node.driver().tick();
        if node.work().is_err() {
            return;
        }
    }
}

/// What lies one after the other in `bytes`, each behind its length in two bytes; the last may be cut.
pub(crate) fn parts(mut bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (length, rest) = bytes.split_first_chunk::<2>()?;
        let length = usize::from(u16::from_le_bytes(*length));
        let (part, rest) = rest.split_at(length.min(rest.len()));
        bytes = rest;
        Some(part)
    })
}

fn follower() -> Option<Node> {
    let member = |id| {
        Some(FirstMember {
            id: MemberId::from_wire(id)?,
            context: bytes::Bytes::new(),
        })
    };
    let first = [member(1)?, member(2)?, member(3)?];
    let identity = Identity {
        cluster: ClusterId::new(1),
        member: MemberId::from_wire(1)?,
    };
    // A new segment is written whole, and so is not to be long.
    let options = NodeOptions {
        wal: wal::fuzzed::OPTIONS,
        ..NodeOptions::default()
    };
    let disk = Arc::new(FaultDisk::new(1));
    Node::create(disk.clone(), identity, &first, &options).ok()?;
    let mut node = Node::open(disk, &options).ok()?;
    node.work().ok()?;
    Some(node)
}

#[cfg(test)]
mod tests {
    use cairn_testbed::mutations::run;

    use super::*;

    const CRATE: &str = env!("CARGO_MANIFEST_DIR");

    #[test]
    fn no_frame_stops_a_recovery_with_a_panic() {
        run(CRATE, "wal", 1000, frames).unwrap();
    }

    #[test]
    fn no_message_of_a_peer_stops_a_member_with_a_panic() {
        run(CRATE, "messages", 1000, messages).unwrap();
    }
}
