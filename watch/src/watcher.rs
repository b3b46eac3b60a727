//! One watcher: what it wants to see, and how far it has seen it.

use cairn_index::{KeyRange, Revision};
use cairn_mvcc::{Change, ChangeKind};

use crate::stream::StreamKey;

/// The name of a watcher on its stream, as the client knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WatchId(i64);

impl WatchId {
    /// The id with this number.
    #[must_use]
    pub const fn new(number: i64) -> Self {
        Self(number)
    }

    /// The id as clients see it.
    #[must_use]
    pub const fn to_wire(self) -> i64 {
        self.0
    }
}

/// The name of a watcher in its hub: its slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct WatcherKey(pub(crate) usize);

/// Whether a watcher's events carry the key-value pair that they replaced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum PrevKv {
    /// They do not.
    #[default]
    Omit,
    /// They do, unless it was compacted.
    Include,
}

/// Whether a watcher's client can put a reply together that comes in pieces.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Fragments {
    /// It wants every reply whole.
    #[default]
    Refused,
    /// A reply above the message limit may come in pieces.
    Accepted,
}

/// The kinds of events that a watcher does not want.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Filters {
    /// No events of puts.
    pub no_put: bool,
    /// No events of deletes.
    pub no_delete: bool,
}

impl Filters {
    const fn pass(self, kind: ChangeKind) -> bool {
        match kind {
            ChangeKind::Put => !self.no_put,
            ChangeKind::Delete => !self.no_delete,
        }
    }
}

/// Which of the hub's three sets a watcher is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It has been sent all that the hub has seen, and gets each revision as it comes.
    Synced,
    /// It is behind, and catches up from the history.
    Unsynced,
    /// It is behind and its stream's sink is full. Nothing is kept for it but where it is.
    Victim,
}

/// Whether a watcher asked for periodic progress, and what the current interval has brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PeriodicProgress {
    /// It did not ask.
    Off,
    /// No event since the interval began: the next tick is worth a reply.
    Quiet,
    /// Events told it how far it is.
    Told,
}

/// A watcher.
#[derive(Debug)]
pub(crate) struct Watcher {
    pub(crate) id: WatchId,
    pub(crate) stream: StreamKey,
    pub(crate) range: KeyRange,
    pub(crate) filters: Filters,
    pub(crate) prev_kv: PrevKv,
    pub(crate) fragments: Fragments,
    pub(crate) periodic: PeriodicProgress,
    pub(crate) standing: Standing,
    /// The first revision that it may still be sent events of. A synced watcher has seen what the
    /// hub has seen, so for it this counts only while it is ahead of the hub: it starts in the future,
    /// or caught up with a store that the hub has yet to hear from.
    pub(crate) next: Revision,
    /// No progress below this revision: its start, and what the client was told is the present when
    /// the watcher was created or caught up.
    pub(crate) progress_from: Revision,
}

impl Watcher {
    /// Whether `change`, which is in the watcher's range, is for it.
    pub(crate) fn wants(&self, change: &Change) -> bool {
        change.at.main >= self.next && self.filters.pass(change.kind)
    }

    /// Whether the watcher may be told that it has all events through `observed`, where the hub is.
    pub(crate) fn is_settled(&self, observed: Revision) -> bool {
        self.standing == Standing::Synced && self.progress_from <= observed
    }
}
