//! The numbers of a history, each a type of its own.
//!
//! They are what was seen, so any value can occur: a broken server may answer with revision -7.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! number {
    ($(#[$attributes:meta])* $name:ident($inner:ty), $prefix:literal) => {
        $(#[$attributes])*
        #[derive(
            Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
        )]
        #[serde(transparent)]
        pub struct $name(
            /// The number itself.
            pub $inner,
        );

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "{}"), self.0)
            }
        }
    };
}

number!(
    /// A main revision. A fresh store is at 1; each transaction that changes something adds 1.
    Revision(i64), ""
);
number!(
    /// A lease; never 0 in a request or an answer that has one.
    LeaseId(i64), "lease "
);
number!(
    /// A raft term.
    Term(u64), "term "
);
number!(
    /// Whoever calls, one call after the other: a client with two calls under way is two clients.
    ClientId(u32), "c"
);
number!(
    /// A member, by any number that is its own for the whole history.
    MemberId(u64), "m"
);
number!(
    /// An operation's place in its history.
    OpId(usize), "op "
);
number!(
    /// A watch's place in its history.
    WatchId(usize), "watch "
);
number!(
    /// Nanoseconds of any clock that all records share and that never goes back.
    Time(u64), ""
);

impl Revision {
    /// The revision of a store that was never written to.
    pub const FRESH: Self = Self(1);

    /// The one after it.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    /// The one before it.
    #[must_use]
    pub const fn previous(self) -> Self {
        Self(self.0.saturating_sub(1))
    }
}

impl Time {
    /// A time later than all others.
    pub const NEVER: Self = Self(u64::MAX);

    /// Seconds after `start`, negative if before.
    #[must_use]
    pub fn seconds_since(self, start: Self) -> f64 {
        const SECOND: f64 = 1e9;
        #[expect(
            clippy::cast_precision_loss,
            reason = "for people: 53 bits of nanoseconds are 104 days"
        )]
        let nanos = |time: u64| time as f64;
        if self >= start {
            nanos(self.0 - start.0) / SECOND
        } else {
            -nanos(start.0 - self.0) / SECOND
        }
    }
}
