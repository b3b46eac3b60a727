//! One lease.

use crate::moment::Moment;
use crate::renewal::Renewal;
use crate::ttl::Ttl;

/// A lease, without its keys. There may be very many: 48 bytes each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lease {
    /// Replicated: the time to live that was granted.
    pub(crate) ttl: Ttl,
    /// Replicated: what was left of it at the last checkpoint, if that was after the last renewal.
    pub(crate) remaining: Option<Ttl>,
    /// Replicated: the entry that last granted or renewed it.
    pub(crate) renewal: Renewal,
    /// The leader's: until when it lives. Without meaning at other members.
    pub(crate) timer: Timer,
    /// The leader's: whether a checkpoint of it may be on its way through the log.
    pub(crate) checkpointing: bool,
}

/// Until when a lease lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Timer {
    /// Its time has not begun: it begins at the leader's next tick.
    Waiting,
    /// It lives until then, unless renewed.
    Until(Moment),
    /// Its expiry is on its way through the log.
    Expiring,
}

const _: () = assert!(size_of::<Lease>() <= 48);

impl Lease {
    pub(crate) const fn new(ttl: Ttl, renewal: Renewal) -> Self {
        Self {
            ttl,
            remaining: None,
            renewal,
            timer: Timer::Waiting,
            checkpointing: false,
        }
    }

    /// What a new leader gives it.
    pub(crate) fn replicated_time(&self) -> Ttl {
        self.remaining.unwrap_or(self.ttl)
    }
}
