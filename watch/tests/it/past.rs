//! A history in memory, which forgets all that a compaction may forget, and errs on demand.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use bytes::Bytes;
use cairn_index::{FullRevision, Revision, SubRevision};
use cairn_mvcc::{Change, ChangeKind, EventLimits, Events};
use cairn_proto::mvccpb::KeyValue;
use cairn_watch::History;
use prost::Message;

/// What the history does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    None,
    DropsAnEvent,
    RepeatsAnEvent,
    SplitsARevision,
    ForgetsWhatWasReplaced,
}

/// What happens to a key.
#[derive(Clone, Debug)]
pub(crate) enum Write {
    Put(&'static str, u32),
    Delete(&'static str),
}

/// The history; clones are the same one.
#[derive(Clone, Debug)]
pub(crate) struct Past(Rc<RefCell<State>>);

/// The history cannot be read now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the history cannot be read now")]
pub(crate) struct Unreadable;

#[derive(Debug)]
struct State {
    fault: Fault,
    readable: bool,
    current: Revision,
    compacted: Option<Revision>,
    changes: Vec<Change>,
    live: BTreeMap<&'static str, (KeyValue, FullRevision)>,
}

impl Past {
    pub(crate) fn new(fault: Fault) -> Self {
        Self(Rc::new(RefCell::new(State {
            fault,
            readable: true,
            current: Revision::FIRST,
            compacted: None,
            changes: Vec::new(),
            live: BTreeMap::new(),
        })))
    }

    /// One transaction. Returns its changes; none, and no revision, if it deletes what is not there.
    pub(crate) fn write(&self, writes: &[Write]) -> Vec<Change> {
        let mut state = self.0.borrow_mut();
        let main = state.current.next();
        let mut changes = Vec::new();
        for write in writes {
            let at = FullRevision::new(main, SubRevision::new(changes.len() as u64));
            changes.extend(state.apply(write, at));
        }
        if !changes.is_empty() {
            state.current = main;
            state.changes.extend(changes.iter().cloned());
        }
        changes
    }

    pub(crate) fn compact(&self, at: Revision) {
        let mut state = self.0.borrow_mut();
        assert!(at <= state.current);
        state.compacted = state.compacted.max(Some(at));
    }

    pub(crate) fn set_readable(&self, readable: bool) {
        self.0.borrow_mut().readable = readable;
    }

    /// All that ever happened, compacted or not.
    pub(crate) fn all(&self) -> Vec<Change> {
        self.0.borrow().changes.clone()
    }

    /// The pair that a change replaced, compacted or not.
    pub(crate) fn replaced(&self, change: &Change) -> Option<Bytes> {
        let at = change.previous?;
        self.0
            .borrow()
            .changes
            .iter()
            .find(|other| other.at == at)
            .map(|other| other.kv.clone())
    }
}

impl State {
    fn apply(&mut self, write: &Write, at: FullRevision) -> Option<Change> {
        let (key, value) = match *write {
            Write::Put(key, value) => (key, Some(value)),
            Write::Delete(key) => (key, None),
        };
        let before = self.live.remove(key);
        if value.is_none() && before.is_none() {
            return None;
        }
        let mut kv = KeyValue {
            key: Bytes::from(key),
            mod_revision: at.main.to_wire(),
            ..KeyValue::default()
        };
        if let Some(value) = value {
            kv.value = Bytes::from(value.to_string());
            kv.create_revision = before
                .as_ref()
                .map_or(kv.mod_revision, |it| it.0.create_revision);
            kv.version = before.as_ref().map_or(0, |it| it.0.version) + 1;
            self.live.insert(key, (kv.clone(), at));
        }
        Some(Change {
            kind: if value.is_some() {
                ChangeKind::Put
            } else {
                ChangeKind::Delete
            },
            key: kv.key.clone(),
            created: kv.version == 1,
            kv: kv.encode_to_vec().into(),
            at,
            previous: before.map(|it| it.1),
        })
    }
}

impl History for Past {
    type Error = Unreadable;

    fn current(&self) -> Revision {
        self.0.borrow().current
    }

    fn compacted(&self) -> Option<Revision> {
        self.0.borrow().compacted
    }

    fn events(
        &self,
        from: Revision,
        through: Revision,
        limits: EventLimits,
        wanted: &mut dyn FnMut(&[u8]) -> bool,
    ) -> Result<Events, Unreadable> {
        let state = self.0.borrow();
        if !state.readable {
            return Err(Unreadable);
        }
        assert!(from <= through && through <= state.current);
        let kept = state
            .changes
            .iter()
            .filter(|change| Some(change.at.main) >= state.compacted);
        let mut stretch = kept.filter(|change| (from..=through).contains(&change.at.main));
        let mut events = Events {
            changes: Vec::new(),
            next: None,
        };
        let mut last = from;
        for (scanned, change) in stretch.by_ref().enumerate() {
            let whole = change.at.main != last || state.fault == Fault::SplitsARevision;
            if scanned >= limits.scanned_max.min(3) && whole {
                events.next = Some(change.at.main.max(from.next()));
                break;
            }
            last = change.at.main;
            let odd = change.at.main.number() % 5 == 3;
            if !wanted(&change.key) || (odd && state.fault == Fault::DropsAnEvent) {
                continue;
            }
            if odd && state.fault == Fault::RepeatsAnEvent {
                events.changes.push(change.clone());
            }
            events.changes.push(change.clone());
        }
        Ok(events)
    }

    fn previous(&self, changes: &[&Change]) -> Result<Vec<Option<Bytes>>, Unreadable> {
        if !self.0.borrow().readable {
            return Err(Unreadable);
        }
        let forgets = self.0.borrow().fault == Fault::ForgetsWhatWasReplaced;
        let each = changes.iter().map(|change| {
            let readable = change.at.main.previous() >= self.compacted();
            (readable && !forgets).then(|| self.replaced(change))?
        });
        Ok(each.collect())
    }
}
