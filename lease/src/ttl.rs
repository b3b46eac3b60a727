//! How long a lease lives.

use std::num::NonZeroU64;
use std::time::Duration;

/// A time to live: 1 to 9,000,000,000 seconds, which is etcd's limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ttl(NonZeroU64);

/// A time to live beyond [`Ttl::MAX`] was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a time to live of {secs} s is too large")]
pub struct TtlTooLarge {
    /// What was asked for.
    pub secs: i64,
}

impl Ttl {
    /// The longest.
    pub const MAX: Self = match NonZeroU64::new(9_000_000_000) {
        Some(secs) => Self(secs),
        None => Self::MIN,
    };

    /// The shortest that can be written down; a member raises what it grants to its own minimum.
    pub const MIN: Self = Self(NonZeroU64::MIN);

    /// Reads a wish of seconds as the wire has it: what is too small is the smallest.
    ///
    /// # Errors
    ///
    /// [`TtlTooLarge`].
    pub fn from_wire(secs: i64) -> Result<Self, TtlTooLarge> {
        let wish = u64::try_from(secs).ok().and_then(NonZeroU64::new);
        let ttl = wish.map_or(Self::MIN, Self);
        if ttl > Self::MAX {
            return Err(TtlTooLarge { secs });
        }
        Ok(ttl)
    }

    /// The seconds as the wire has them.
    #[must_use]
    pub fn to_wire(self) -> i64 {
        i64::try_from(self.0.get()).unwrap_or(i64::MAX)
    }

    /// The shortest that a leader grants: one and a half election timeouts, in whole seconds, so that
    /// no lease ends before there can be another leader. Source: etcd.
    #[must_use]
    pub fn shortest_granted(election_timeout: Duration) -> Self {
        let millis = election_timeout.as_millis().saturating_mul(3) / 2;
        let secs = u64::try_from(millis.div_ceil(1000)).unwrap_or(u64::MAX);
        NonZeroU64::new(secs).map_or(Self::MIN, |secs| Self(secs).min(Self::MAX))
    }

    /// The whole seconds of `left`, rounded up; none if nothing is left.
    pub(crate) fn covering(left: Duration) -> Option<Self> {
        let secs = u64::try_from(left.as_millis().div_ceil(1000)).ok()?;
        NonZeroU64::new(secs).map(|secs| Self(secs).min(Self::MAX))
    }

    /// The time to live as a span of time.
    #[must_use]
    pub const fn duration(self) -> Duration {
        Duration::from_secs(self.0.get())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wishes_are_read_as_etcd_reads_them() {
        for (wish, read) in [
            (i64::MIN, Ok(1)),
            (0, Ok(1)),
            (7, Ok(7)),
            (9_000_000_000, Ok(9_000_000_000)),
            (
                9_000_000_001,
                Err(TtlTooLarge {
                    secs: 9_000_000_001,
                }),
            ),
            (i64::MAX, Err(TtlTooLarge { secs: i64::MAX })),
        ] {
            assert_eq!(Ttl::from_wire(wish).map(Ttl::to_wire), read, "{wish}");
        }
    }

    #[test]
    fn the_shortest_granted_is_one_and_a_half_elections_rounded_up() {
        for (millis, secs) in [(100, 1), (1000, 2), (1334, 3), (2000, 3), (50_000, 75)] {
            let shortest = Ttl::shortest_granted(Duration::from_millis(millis));
            assert_eq!(shortest.to_wire(), secs, "{millis} ms");
        }
    }
}
