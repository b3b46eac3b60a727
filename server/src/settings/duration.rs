//! Durations as etcd's flags and logs write them: `1h0m0s`, `100ms`, `1.5s`, `1µs`.
//!
//! A [`FlagDuration`] is what a user wrote and may be negative; where a setting cannot be, the
//! conversion to [`std::time::Duration`] says so.

use std::fmt;
use std::time::Duration;

/// A signed span of time in whole nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct FlagDuration {
    nanos: i64,
}

/// Units with their length, longest name first where one is the start of another.
const UNITS: [(&str, u64); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("μs", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

impl FlagDuration {
    /// A duration given in nanoseconds, as a configuration file has it.
    #[must_use]
    pub(crate) const fn from_nanos(nanos: i64) -> Self {
        Self { nanos }
    }

    /// Reads the command line's form: an optional sign, then numbers with units.
    ///
    /// # Errors
    ///
    /// [`InvalidDuration`] for anything else, and for spans beyond 292 years.
    pub(crate) fn parse(text: &str) -> Result<Self, InvalidDuration> {
        let invalid = || InvalidDuration {
            text: text.to_owned(),
        };
        let (negative, unsigned) = match text.as_bytes().first() {
            Some(b'-') => (true, text.get(1..)),
            Some(b'+') => (false, text.get(1..)),
            _ => (false, Some(text)),
        };
        let mut rest = unsigned
            .filter(|rest| !rest.is_empty())
            .ok_or_else(invalid)?;
        if rest == "0" {
            return Ok(Self::default());
        }
        let mut total: u64 = 0;
        while !rest.is_empty() {
            let (nanos, tail) = parse_component(rest).ok_or_else(invalid)?;
            total = total.checked_add(nanos).ok_or_else(invalid)?;
            rest = tail;
        }
        let magnitude = i64::try_from(total).map_err(|_| invalid())?;
        Ok(Self {
            nanos: if negative { -magnitude } else { magnitude },
        })
    }

    /// The same span without a sign; `None` if it is negative.
    #[must_use]
    pub(crate) fn to_duration(self) -> Option<Duration> {
        u64::try_from(self.nanos).ok().map(Duration::from_nanos)
    }
}

impl From<Duration> for FlagDuration {
    /// Spans beyond 292 years become 292 years.
    fn from(duration: Duration) -> Self {
        Self {
            nanos: i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX),
        }
    }
}

/// One number with its unit, in nanoseconds, and what follows it.
fn parse_component(text: &str) -> Option<(u64, &str)> {
    let number_end = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
    let (number, tail) = text.split_at(number_end);
    let unit_end = tail
        .find(|c: char| c.is_ascii_digit() || c == '.')
        .unwrap_or(tail.len());
    let (unit_name, rest) = tail.split_at(unit_end);
    let (_, unit) = UNITS.iter().find(|(name, _)| *name == unit_name)?;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let whole: u64 = if whole.is_empty() {
        0
    } else {
        whole.parse().ok()?
    };
    let nanos = whole
        .checked_mul(*unit)?
        .checked_add(fraction_nanos(fraction, *unit)?)?;
    Some((nanos, rest))
}

/// `fraction` are the digits after the point; what is below a nanosecond is cut off.
fn fraction_nanos(fraction: &str, unit: u64) -> Option<u64> {
    let mut nanos = 0;
    let mut place = unit;
    for digit in fraction.chars() {
        place /= 10;
        nanos += u64::from(digit.to_digit(10)?) * place;
    }
    Some(nanos)
}

impl fmt::Display for FlagDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.nanos < 0 {
            f.write_str("-")?;
        }
        let nanos = self.nanos.unsigned_abs();
        match nanos {
            0 => f.write_str("0s"),
            1..1_000 => write!(f, "{nanos}ns"),
            1_000..1_000_000 => write_decimal(f, nanos, 1_000, "µs"),
            1_000_000..1_000_000_000 => write_decimal(f, nanos, 1_000_000, "ms"),
            _ => {
                let secs = nanos / 1_000_000_000;
                let (hours, minutes) = (secs / 3600, secs / 60 % 60);
                if hours > 0 {
                    write!(f, "{hours}h")?;
                }
                if hours > 0 || minutes > 0 {
                    write!(f, "{minutes}m")?;
                }
                write_decimal(f, nanos % 60_000_000_000, 1_000_000_000, "s")
            }
        }
    }
}

fn write_decimal(f: &mut fmt::Formatter<'_>, nanos: u64, unit: u64, name: &str) -> fmt::Result {
    let (whole, mut fraction) = (nanos / unit, nanos % unit);
    if fraction == 0 {
        return write!(f, "{whole}{name}");
    }
    let mut digits = unit.ilog10() as usize;
    while fraction % 10 == 0 {
        fraction /= 10;
        digits -= 1;
    }
    write!(f, "{whole}.{fraction:0digits$}{name}")
}

/// Text that is not a duration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a duration; write numbers with units, as in 100ms, 5s or 1h30m")]
pub(crate) struct InvalidDuration {
    /// The text as given.
    pub text: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_and_written_as_go_does() {
        for (text, nanos, shown) in [
            ("0", 0, "0s"),
            ("100ms", 100_000_000, "100ms"),
            ("1h0m0s", 3_600_000_000_000, "1h0m0s"),
            ("1µs", 1_000, "1µs"),
            ("1μs", 1_000, "1µs"),
            ("1us", 1_000, "1µs"),
            ("7ns", 7, "7ns"),
            ("1.5s", 1_500_000_000, "1.5s"),
            (".5s", 500_000_000, "500ms"),
            ("1.s", 1_000_000_000, "1s"),
            ("90s", 90_000_000_000, "1m30s"),
            ("2h", 7_200_000_000_000, "2h0m0s"),
            ("1m0.25s", 60_250_000_000, "1m0.25s"),
            ("-3s", -3_000_000_000, "-3s"),
            ("+3s", 3_000_000_000, "3s"),
            ("1.05ms", 1_050_000, "1.05ms"),
        ] {
            let duration = FlagDuration::parse(text).unwrap();
            assert_eq!(duration, FlagDuration::from_nanos(nanos), "{text}");
            assert_eq!(duration.to_string(), shown, "{text}");
        }
    }

    #[test]
    fn text_without_number_or_unit_is_no_duration() {
        for text in [
            "",
            "-",
            "5",
            "s",
            ".s",
            "1.2.3s",
            "5x",
            "1h 2m",
            "3 s",
            "1e3s",
            "300000h0m9999999999999999s",
        ] {
            assert!(FlagDuration::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_negative_duration_is_no_span() {
        assert_eq!(FlagDuration::from_nanos(-1).to_duration(), None);
        assert_eq!(
            FlagDuration::from_nanos(2).to_duration(),
            Some(Duration::from_nanos(2))
        );
    }
}
