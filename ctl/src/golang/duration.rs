//! Go's durations: `1m30s` both ways.

use std::time::Duration;

const NANOS_PER_SEC: u128 = 1_000_000_000;

/// A duration as Go prints it: `1.5s`, `17.071757ms`, `2h45m0s`.
pub(crate) fn duration(span: Duration) -> String {
    let nanos = span.as_nanos();
    if nanos == 0 {
        return "0s".to_owned();
    }
    if nanos < NANOS_PER_SEC {
        let (unit, name) = match nanos {
            0..1_000 => (1, "ns"),
            1_000..1_000_000 => (1_000, "µs"),
            _ => (1_000_000, "ms"),
        };
        return format!("{}{name}", decimal(nanos, unit));
    }
    let minutes = nanos / (60 * NANOS_PER_SEC);
    let secs = decimal(nanos % (60 * NANOS_PER_SEC), NANOS_PER_SEC);
    match (minutes / 60, minutes % 60) {
        (0, 0) => format!("{secs}s"),
        (0, minutes) => format!("{minutes}m{secs}s"),
        (hours, minutes) => format!("{hours}h{minutes}m{secs}s"),
    }
}

/// A quotient with all its decimals.
fn decimal(value: u128, unit: u128) -> String {
    let (whole, rest) = (value / unit, value % unit);
    if rest == 0 {
        return whole.to_string();
    }
    let width = unit.ilog10() as usize;
    let decimals = format!("{rest:0width$}");
    format!("{whole}.{}", decimals.trim_end_matches('0'))
}

/// Reads a duration: numbers with units, without a sign.
///
/// # Errors
///
/// Go's words for what is none; a negative one, which no flag of ours has a use for.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    let quoted = super::quote(text.as_bytes());
    let invalid = || format!("time: invalid duration {quoted}");
    if let Some(positive) = text.strip_prefix('-') {
        parse_duration(positive)?;
        return Err(format!("time: negative duration {quoted}"));
    }
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest == "0" {
        return Ok(Duration::ZERO);
    }
    if rest.is_empty() {
        return Err(invalid());
    }
    let mut nanos: u128 = 0;
    while !rest.is_empty() {
        let split = rest.find(|c: char| !c.is_ascii_digit() && c != '.');
        let (number, behind) = rest.split_at(split.unwrap_or(rest.len()));
        if !number.contains(|c: char| c.is_ascii_digit()) || number.matches('.').count() > 1 {
            return Err(invalid());
        }
        let split = behind.find(|c: char| c.is_ascii_digit() || c == '.');
        let (unit, behind) = behind.split_at(split.unwrap_or(behind.len()));
        let unit_nanos: u128 = match unit {
            "" => return Err(format!("time: missing unit in duration {quoted}")),
            "ns" => 1,
            "us" | "µs" | "μs" => 1_000,
            "ms" => 1_000_000,
            "s" => NANOS_PER_SEC,
            "m" => 60 * NANOS_PER_SEC,
            "h" => 3600 * NANOS_PER_SEC,
            _ => {
                let unit = super::quote(unit.as_bytes());
                return Err(format!("time: unknown unit {unit} in duration {quoted}"));
            }
        };
        let added = scaled(number, unit_nanos).ok_or_else(invalid)?;
        nanos = nanos.checked_add(added).ok_or_else(invalid)?;
        rest = behind;
    }
    match i64::try_from(nanos) {
        Ok(nanos) => Ok(Duration::from_nanos(nanos.unsigned_abs())),
        Err(_) => Err(invalid()),
    }
}

/// A decimal number of units.
fn scaled(number: &str, unit: u128) -> Option<u128> {
    let (whole, decimals) = number.split_once('.').unwrap_or((number, ""));
    let whole: u128 = if whole.is_empty() {
        0
    } else {
        whole.parse().ok()?
    };
    let mut nanos = whole.checked_mul(unit)?;
    let mut place = unit;
    for digit in decimals.chars() {
        place /= 10;
        nanos = nanos.checked_add(u128::from(digit.to_digit(10)?) * place)?;
    }
    Some(nanos)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn durations_read_as_go_writes_them() {
        let cases = [
            (0, "0s"),
            (1, "1ns"),
            (1_500, "1.5µs"),
            (17_071_757, "17.071757ms"),
            (1_000_767_034, "1.000767034s"),
            (1_000_895_950, "1.00089595s"),
            (90_000_000_000, "1m30s"),
            (9_900_000_000_000, "2h45m0s"),
        ];
        for (nanos, text) in cases {
            assert_eq!(duration(Duration::from_nanos(nanos)), text);
        }
    }

    #[test]
    fn what_is_no_duration_is_told_in_go_s_words() {
        let cases = [
            ("5", "time: missing unit in duration \"5\""),
            ("5y", "time: unknown unit \"y\" in duration \"5y\""),
            ("", "time: invalid duration \"\""),
            ("x", "time: invalid duration \"x\""),
            ("1..s", "time: invalid duration \"1..s\""),
            ("9999999999h", "time: invalid duration \"9999999999h\""),
        ];
        for (text, error) in cases {
            assert_eq!(parse_duration(text), Err(error.to_owned()));
        }
        assert_eq!(parse_duration("1.5h"), Ok(Duration::from_secs(5400)));
    }

    proptest! {
        #[test]
        fn a_duration_is_read_as_it_was_written(nanos in 0..i64::MAX.unsigned_abs()) {
            let span = Duration::from_nanos(nanos);
            prop_assert_eq!(parse_duration(&duration(span)), Ok(span));
        }

        #[test]
        fn no_text_makes_reading_panic(text in ".{0,20}") {
            let _ = parse_duration(&text);
        }
    }
}
