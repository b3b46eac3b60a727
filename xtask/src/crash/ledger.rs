//! What clients wrote, what they were told, and whether a history agrees.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use cairn_proto::mvccpb::Event;
use cairn_proto::mvccpb::event::EventType;

/// A change of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Change {
    Put { key: Bytes, value: Bytes },
    Delete { key: Bytes },
}

impl Change {
    pub(super) fn from_event(event: &Event) -> Result<Self> {
        let kv = event.kv.clone().context("an event without a key-value")?;
        Ok(match event.r#type() {
            EventType::Put => Self::Put {
                key: kv.key,
                value: kv.value,
            },
            EventType::Delete => Self::Delete { key: kv.key },
        })
    }
}

/// The changes of one revision, in their order.
pub(super) type Write = Vec<Change>;

/// The writes that were sent and are not found in the history yet.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    acknowledged: BTreeMap<i64, Write>,
    /// Sent, and the server died before it answered: they may be there, once, or not.
    unanswered: Vec<Write>,
}

impl Ledger {
    /// Notes a write that the server says it made at this revision.
    pub(super) fn acknowledge(&mut self, revision: i64, write: Write) -> Result<()> {
        if let Some(other) = self.acknowledged.insert(revision, write) {
            bail!("revision {revision} was given out twice, the other time for {other:?}");
        }
        Ok(())
    }

    /// Notes a write that nobody answered.
    pub(super) fn leave_open(&mut self, write: Write) {
        self.unanswered.push(write);
    }

    /// Takes what the store holds at a revision out of the books.
    pub(super) fn settle(&mut self, revision: i64, found: &Write) -> Result<()> {
        if let Some(write) = self.acknowledged.remove(&revision) {
            if write != *found {
                bail!("revision {revision} was acknowledged for {write:?} and holds {found:?}");
            }
            return Ok(());
        }
        let open = self.unanswered.iter().position(|write| write == found);
        let Some(at) = open else {
            bail!("revision {revision} holds {found:?}, which nobody wrote");
        };
        self.unanswered.swap_remove(at);
        Ok(())
    }

    /// Ends a round: nothing acknowledged may be left.
    pub(super) fn close(&mut self) -> Result<()> {
        if let Some((revision, write)) = self.acknowledged.pop_first() {
            bail!("lost: revision {revision} was acknowledged for {write:?}");
        }
        self.unanswered.clear();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(value: &'static str) -> Write {
        vec![Change::Put {
            key: "a".into(),
            value: value.into(),
        }]
    }

    #[test]
    fn a_lost_write_is_found() {
        let mut ledger = Ledger::default();
        ledger.acknowledge(2, put("1")).unwrap();
        assert!(
            ledger
                .close()
                .unwrap_err()
                .to_string()
                .starts_with("lost: revision 2")
        );
    }

    #[test]
    fn an_unanswered_write_may_appear_once_or_not_at_all() {
        let mut ledger = Ledger::default();
        ledger.leave_open(put("1"));
        ledger.leave_open(put("2"));
        ledger.settle(2, &put("1")).unwrap();
        assert!(ledger.settle(3, &put("1")).is_err());
        ledger.close().unwrap();
        assert!(ledger.settle(4, &put("2")).is_err());
    }

    #[test]
    fn a_write_at_another_revision_or_with_another_value_is_found() {
        let mut ledger = Ledger::default();
        ledger.acknowledge(2, put("1")).unwrap();
        assert!(ledger.settle(3, &put("1")).is_err());
        assert!(ledger.settle(2, &put("2")).is_err());
        assert!(ledger.acknowledge(5, put("1")).is_ok());
        assert!(ledger.acknowledge(5, put("1")).is_err());
    }
}
