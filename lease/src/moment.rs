//! A point in time, as the one who drives leases tells it.

use std::time::Duration;

use crate::ttl::Ttl;

/// Milliseconds since some start of the driver's choice, on a clock that never goes back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment(u64);

impl Moment {
    /// The moment `since` after the start, cut to milliseconds.
    #[must_use]
    pub fn after_start(since: Duration) -> Self {
        Self(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }

    /// The moment `later`.
    #[must_use]
    pub fn plus(self, later: Duration) -> Self {
        let millis = u64::try_from(later.as_millis()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(millis))
    }

    /// When a lease ends that is renewed now.
    pub(crate) fn plus_ttl(self, ttl: Ttl) -> Self {
        self.plus(ttl.duration())
    }

    /// How long after `earlier` this is; nothing if it is before.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}
