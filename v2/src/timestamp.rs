//! Points in time, as requests carry them.

use std::fmt;

use time::OffsetDateTime;

/// Nanoseconds since 1970 began, UTC. Whoever makes a request reads the clock; nobody else does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

const NANOS_PER_SECOND: i64 = 1_000_000_000;

impl Timestamp {
    /// The beginning of the year 2000. What is created to expire before never expires: etcd takes it
    /// for a damaged time.
    pub(crate) const YEAR_2000: Self = Self(946_684_800 * NANOS_PER_SECOND);

    /// This many nanoseconds since 1970.
    #[must_use]
    pub const fn from_nanos(nanos: i64) -> Self {
        Self(nanos)
    }

    /// Nanoseconds since 1970.
    #[must_use]
    pub const fn nanos(self) -> i64 {
        self.0
    }

    /// The end of a time to live of `seconds` that begins now. It wraps where etcd's does: the time
    /// is then long past, and counts as none.
    #[must_use]
    pub const fn after_seconds(self, seconds: u64) -> Self {
        let nanos = seconds.cast_signed().wrapping_mul(NANOS_PER_SECOND);
        Self(self.0.wrapping_add(nanos))
    }

    /// Whole seconds from `now` until then, rounded up; what is past is rounded towards now.
    #[must_use]
    pub const fn seconds_left(self, now: Self) -> i64 {
        let left = self.0.saturating_sub(now.0);
        left / NANOS_PER_SECOND + (left % NANOS_PER_SECOND > 0) as i64
    }

    /// Eight bytes that order as times do.
    pub(crate) const fn to_ordered(self) -> [u8; 8] {
        (self.0 ^ i64::MIN).to_be_bytes()
    }

    pub(crate) const fn from_ordered(bytes: [u8; 8]) -> Self {
        Self(i64::from_be_bytes(bytes) ^ i64::MIN)
    }
}

/// RFC 3339, as Go prints it: UTC, with as many digits of a second as are not zero.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Ok(time) = OffsetDateTime::from_unix_timestamp_nanos(self.0.into()) else {
            // All that 64 bits of nanoseconds reach lies between the years 1677 and 2262.
            return Err(fmt::Error);
        };
        let (year, month, day) = time.to_calendar_date();
        let (hour, minute, second) = time.to_hms();
        let month = u8::from(month);
        write!(
            f,
            "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}"
        )?;
        if time.nanosecond() > 0 {
            let digits = format!("{:09}", time.nanosecond());
            write!(f, ".{}", digits.trim_end_matches('0'))?;
        }
        f.write_str("Z")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_shown_as_go_shows_them() {
        for (nanos, shown) in [
            (0, "1970-01-01T00:00:00Z"),
            (1_795_936_140_226_847_724, "2026-11-29T07:09:00.226847724Z"),
            (1_795_936_140_500_000_000, "2026-11-29T07:09:00.5Z"),
        ] {
            assert_eq!(Timestamp(nanos).to_string(), shown);
        }
        for extreme in [i64::MIN, i64::MAX] {
            assert!(Timestamp(extreme).to_string().ends_with('Z'));
        }
        assert_eq!(Timestamp::YEAR_2000.to_string(), "2000-01-01T00:00:00Z");
    }

    #[test]
    fn seconds_left_are_rounded_up_and_past_ones_towards_now() {
        let now = Timestamp(NANOS_PER_SECOND);
        for (nanos, left) in [
            (NANOS_PER_SECOND, 0),
            (NANOS_PER_SECOND + 1, 1),
            (2 * NANOS_PER_SECOND, 1),
            (2 * NANOS_PER_SECOND + 1, 2),
            (NANOS_PER_SECOND - 1, 0),
            (-NANOS_PER_SECOND / 2, -1),
        ] {
            assert_eq!(Timestamp(nanos).seconds_left(now), left, "{nanos}");
        }
        assert_eq!(now.after_seconds(5).seconds_left(now), 5);
    }

    #[test]
    fn stored_times_order_as_times() {
        let times = [i64::MIN, -1, 0, 1, i64::MAX].map(Timestamp);
        assert!(times.is_sorted_by_key(|time| time.to_ordered()));
        for time in times {
            assert_eq!(Timestamp::from_ordered(time.to_ordered()), time);
        }
    }
}
