//! Times and durations as Go prints them.

use std::fmt::Write as _;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use cairn_v2::Timestamp;

/// RFC 3339 with nanoseconds.
pub(super) fn time(time: SystemTime) -> String {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let nanos = i64::try_from(since.as_nanos()).unwrap_or(i64::MAX);
    Timestamp::from_nanos(nanos).to_string()
}

/// As in `1h2m3.5s`, `250ms`, `17µs`, `0s`.
pub(super) fn duration(duration: Duration) -> String {
    let nanos = duration.as_nanos();
    let in_units = |unit: u128, name: &str| {
        let (whole, rest) = (nanos / unit, nanos % unit);
        format!("{whole}{}{name}", fraction(rest, unit))
    };
    match nanos {
        0 => return "0s".to_owned(),
        1..1_000 => return format!("{nanos}ns"),
        1_000..1_000_000 => return in_units(1_000, "µs"),
        1_000_000..1_000_000_000 => return in_units(1_000_000, "ms"),
        _ => {}
    }
    let (hours, minutes) = (duration.as_secs() / 3600, duration.as_secs() / 60 % 60);
    let mut text = String::new();
    if hours > 0 {
        let _ = write!(text, "{hours}h");
    }
    if hours > 0 || minutes > 0 {
        let _ = write!(text, "{minutes}m");
    }
    let fraction = fraction(duration.subsec_nanos().into(), 1_000_000_000);
    let _ = write!(text, "{}{fraction}s", duration.as_secs() % 60);
    text
}

fn fraction(rest: u128, unit: u128) -> String {
    if rest == 0 {
        return String::new();
    }
    let width = usize::try_from(unit.ilog10()).unwrap_or_default();
    let digits = format!("{rest:0width$}");
    format!(".{}", digits.trim_end_matches('0'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_gos() {
        for (nanos, text) in [
            (0, "0s"),
            (17, "17ns"),
            (1_500, "1.5µs"),
            (250_000_000, "250ms"),
            (2_220_643_949, "2.220643949s"),
            (62_500_000_000, "1m2.5s"),
            (3_603_000_000_000, "1h0m3s"),
        ] {
            assert_eq!(duration(Duration::from_nanos(nanos)), text);
        }
        assert_eq!(time(UNIX_EPOCH), "1970-01-01T00:00:00Z");
    }
}
