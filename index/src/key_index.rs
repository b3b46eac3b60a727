//! The changes of one key, and what is left of them after a compaction.

use crate::history::{History, KeyChange};
use crate::revision::{FullRevision, Revision, SubRevision, Version};
use crate::version::KeyVersion;

/// What the index knows of one key: its changes since the last compaction, and the last before.
///
/// A key's life from its creation to its deletion is a *generation*. Take a key that is put by
/// transaction 4, put again by 6, deleted by 7, and put by 9:
///
/// ```text
/// change        4.0        6.0        7.0           9.0
///               put        put        tombstone     put
/// created       4          4                        9
/// version       1          2                        1
/// generation    └──────── first ──────────┘         └ second, still open
/// ```
///
/// A read at 4 or 5 finds 4.0, at 6 finds 6.0, at 7 or 8 nothing, from 9 on 9.0. A compaction drops
/// changes from the front, and keeps what a read at the compacted revision finds:
///
/// | compacted at | changes left | why |
/// |---|---|---|
/// | 5 | 4.0, 6.0, 7.0, 9.0 | a read at 5 finds 4.0 |
/// | 6 | 6.0, 7.0, 9.0 | 4.0 is superseded |
/// | 7 | 7.0, 9.0 | a watcher that starts at 7 must see the deletion |
/// | 8 | 9.0 | the whole first generation is past |
///
/// Each put carries the creation and version of its generation, so generations need no list of
/// their own, and a compacted or restored key says the same as before.
///
/// Invariants:
/// 1. Changes ascend strictly, and there is at least one.
/// 2. A tombstone is the first change known or follows a put: it ends a generation.
/// 3. A put after a put is of the same generation and the next version; a put after a tombstone
///    starts a generation, at version 1. No put is older than its creation.
/// 4. A single put is held in place if its numbers fit, so that a key at rest, as nearly all keys
///    are, costs no allocation.
#[derive(Clone, Debug)]
pub struct KeyIndex(Form);

#[derive(Clone, Debug)]
enum Form {
    AtRest(PackedVersion),
    Changed(History),
}

const _: () = assert!(size_of::<KeyIndex>() == 24);

/// A [`KeyVersion`] in three words: nearly all sub-revisions and versions fit 32 bits.
#[derive(Clone, Copy, Debug)]
struct PackedVersion {
    main: Revision,
    created: Revision,
    sub: u32,
    version: u32,
}

impl KeyIndex {
    /// A key of one change.
    #[must_use]
    pub fn new(change: KeyChange) -> Self {
        match change.version().and_then(PackedVersion::pack) {
            Some(packed) => Self(Form::AtRest(packed)),
            None => Self(Form::Changed(History::new(&[change]))),
        }
    }

    /// A key of these changes, oldest first; `None` if there are none.
    pub(crate) fn from_changes(changes: &[KeyChange]) -> Option<Self> {
        match changes {
            [] => None,
            [change] => Some(Self::new(*change)),
            _ => Some(Self(Form::Changed(History::new(changes)))),
        }
    }

    /// A key of these changes, in any order; `None` if there are none.
    pub(crate) fn from_unsorted(changes: &mut [KeyChange]) -> Option<Self> {
        changes.sort_unstable_by_key(KeyChange::at);
        Self::from_changes(changes)
    }

    /// Writes the key: the version it has now.
    ///
    /// # Panics
    ///
    /// If `at` is not later than the key's last change.
    pub(crate) fn put(&mut self, at: FullRevision) -> KeyVersion {
        let now = match self.latest() {
            Some(live) => live.updated_by(at),
            None => KeyVersion::created_by(at),
        };
        self.push(KeyChange::Put(now));
        now
    }

    /// Deletes the key: the version it had, or `None`, and no change, if it was not live.
    ///
    /// # Panics
    ///
    /// If `at` is not later than the key's last change.
    pub(crate) fn tombstone(&mut self, at: FullRevision) -> Option<KeyVersion> {
        let previous = self.latest()?;
        self.push(KeyChange::Tombstone(at));
        Some(previous)
    }

    /// Drops what a compaction at `at` drops; whether anything of the key is left.
    pub(crate) fn compact(&mut self, at: Revision) -> Remains {
        let dropped = self.dropped(at).count();
        if dropped == 0 {
            return Remains::Some;
        }
        let kept: Vec<KeyChange> = self.changes().skip(dropped).collect();
        match Self::from_changes(&kept) {
            Some(compacted) => {
                *self = compacted;
                Remains::Some
            }
            None => Remains::Nothing,
        }
    }

    /// The key after its last change; `None` if that deleted it.
    #[must_use]
    pub fn latest(&self) -> Option<KeyVersion> {
        match &self.0 {
            Form::AtRest(packed) => Some(packed.unpack()),
            Form::Changed(history) => history.last().version(),
        }
    }

    /// The transaction of the last change.
    pub(crate) fn newest(&self) -> Revision {
        match &self.0 {
            Form::AtRest(packed) => packed.main,
            Form::Changed(history) => history.last().at().main,
        }
    }

    /// The key as a read at `at` finds it.
    #[must_use]
    pub fn get(&self, at: Revision) -> Option<KeyVersion> {
        match &self.0 {
            Form::AtRest(packed) => (packed.main <= at).then(|| packed.unpack()),
            Form::Changed(history) => history.find(at)?.version(),
        }
    }

    /// Whether a read at `at` finds the key.
    #[must_use]
    pub fn is_live(&self, at: Revision) -> bool {
        match &self.0 {
            Form::AtRest(packed) => packed.main <= at,
            Form::Changed(history) => history.find(at).is_some_and(|it| it.version().is_some()),
        }
    }

    /// The changes from transaction `from` on, deletions too, oldest first. Of several in one
    /// transaction only the last is there: the others were never visible.
    #[must_use]
    pub fn since(&self, from: Revision) -> Vec<FullRevision> {
        let mut since: Vec<FullRevision> = Vec::new();
        for change in self
            .changes()
            .map(|change| change.at())
            .filter(|at| at.main >= from)
        {
            match since.last_mut() {
                Some(last) if last.main == change.main => *last = change,
                _ => since.push(change),
            }
        }
        since
    }

    /// The key's changes, oldest first.
    pub fn changes(&self) -> impl Iterator<Item = KeyChange> + '_ {
        let (at_rest, history) = match &self.0 {
            Form::AtRest(packed) => (Some(KeyChange::Put(packed.unpack())), None),
            Form::Changed(history) => (None, Some(history)),
        };
        at_rest
            .into_iter()
            .chain(history.into_iter().flat_map(History::iter))
    }

    /// The changes that a compaction at `at` drops: always the oldest.
    pub(crate) fn dropped(&self, at: Revision) -> impl Iterator<Item = KeyChange> + '_ {
        let history = match &self.0 {
            // One put is what every later read finds.
            Form::AtRest(_) => None,
            Form::Changed(history) => Some(history),
        };
        let kept = history
            .and_then(|history| history.find(at))
            .map(|last| match last {
                KeyChange::Tombstone(deleted) if deleted.main < at => (last.at(), Superseded::Yes),
                _ => (last.at(), Superseded::No),
            });
        history
            .into_iter()
            .flat_map(History::iter)
            .take_while(move |change| match kept {
                Some((last, Superseded::Yes)) => change.at() <= last,
                Some((last, Superseded::No)) => change.at() < last,
                None => false,
            })
    }

    /// The one change at or before `at` that a compaction at `at` keeps, if there is one.
    pub(crate) fn kept(&self, at: Revision) -> Option<KeyChange> {
        let last = match &self.0 {
            Form::AtRest(packed) => (packed.main <= at).then(|| KeyChange::Put(packed.unpack()))?,
            Form::Changed(history) => history.find(at)?,
        };
        match last {
            KeyChange::Tombstone(deleted) if deleted.main < at => None,
            _ => Some(last),
        }
    }

    fn push(&mut self, change: KeyChange) {
        match &mut self.0 {
            Form::AtRest(packed) => {
                let put = KeyChange::Put(packed.unpack());
                assert!(put.at() < change.at(), "a key's changes ascend");
                self.0 = Form::Changed(History::new(&[put, change]));
            }
            Form::Changed(history) => history.push(change),
        }
    }

    /// The first change after `compacted` that is not what follows from the one before it, if there is
    /// one: then one is missing, and the key was not read back whole. Without a compaction it is looked
    /// for from the beginning.
    #[must_use]
    pub fn gap_after(&self, compacted: Option<Revision>) -> Option<FullRevision> {
        let mut before: Option<KeyChange> = None;
        for change in self.changes() {
            let follows = match (before, change) {
                (Some(KeyChange::Put(before)), KeyChange::Put(now)) => {
                    now == before.updated_by(now.modified)
                }
                (_, KeyChange::Put(now)) => now == KeyVersion::created_by(now.modified),
                (before, KeyChange::Tombstone(_)) => matches!(before, Some(KeyChange::Put(_))),
            };
            if !follows && compacted.is_none_or(|compacted| change.at().main > compacted) {
                return Some(change.at());
            }
            before = Some(change);
        }
        None
    }

    /// Checks the invariants.
    ///
    /// # Panics
    ///
    /// If one is broken, which is a bug here; its number is in the message.
    #[expect(clippy::panic, reason = "a broken invariant is our bug")]
    pub fn check_invariants(&self) {
        if let Form::Changed(history) = &self.0 {
            history.check_invariants(); // 1
            if let (1, KeyChange::Put(only)) = (history.len(), history.last()) {
                assert!(PackedVersion::pack(only).is_none(), "4");
            }
        }
        let mut before: Option<KeyChange> = None;
        for change in self.changes() {
            match (before, change) {
                (Some(KeyChange::Tombstone(_)), KeyChange::Tombstone(_)) => panic!("2"),
                (Some(KeyChange::Put(before)), KeyChange::Put(now)) => {
                    assert_eq!(now, before.updated_by(now.modified), "3");
                }
                (Some(KeyChange::Tombstone(_)), KeyChange::Put(now)) => {
                    assert_eq!(now, KeyVersion::created_by(now.modified), "3");
                }
                (None, KeyChange::Put(now)) => assert!(now.created <= now.modified.main, "3"),
                (_, KeyChange::Tombstone(_)) => {}
            }
            before = Some(change);
        }
    }
}

impl PartialEq for KeyIndex {
    fn eq(&self, other: &Self) -> bool {
        self.changes().eq(other.changes())
    }
}

impl Eq for KeyIndex {}

/// Whether a compaction left anything of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Remains {
    /// Some changes are left.
    Some,
    /// All are gone, and so is the key.
    Nothing,
}

#[derive(Clone, Copy)]
enum Superseded {
    Yes,
    No,
}

impl PackedVersion {
    fn pack(version: KeyVersion) -> Option<Self> {
        Some(Self {
            main: version.modified.main,
            created: version.created,
            sub: u32::try_from(version.modified.sub.number()).ok()?,
            version: u32::try_from(version.version.number()).ok()?,
        })
    }

    fn unpack(self) -> KeyVersion {
        #[expect(clippy::expect_used, reason = "packed from a version")]
        let version = Version::new(self.version.into()).expect("a version");
        KeyVersion {
            modified: FullRevision::new(self.main, SubRevision::new(self.sub.into())),
            created: self.created,
            version,
        }
    }
}

#[cfg(test)]
mod tests;
