//! Time stamps of the log: `2026-11-20T23:06:23.601371Z`, microseconds, always UTC.

use std::time::{SystemTime, UNIX_EPOCH};

use time::OffsetDateTime;

/// The moment of an event.
#[expect(
    clippy::disallowed_methods,
    reason = "a log line says when it was written"
)]
pub(super) fn now() -> SystemTime {
    SystemTime::now()
}

/// Times before 1970 count as 1970.
pub(super) fn format_time(time: SystemTime) -> String {
    let time = OffsetDateTime::from(time.max(UNIX_EPOCH));
    let (date, (hour, minute, second, micros)) = (time.date(), time.to_hms_micro());
    format!("{date}T{hour:02}:{minute:02}:{second:02}.{micros:06}Z")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn moments_are_written_in_utc_with_microseconds() {
        for (secs, micros, text) in [
            (0, 0, "1970-01-01T00:00:00.000000Z"),
            (951_782_400, 1, "2000-02-29T00:00:00.000001Z"),
            (1_735_689_599, 999_999, "2024-12-31T23:59:59.999999Z"),
            (1_795_215_983, 601_371, "2026-11-20T23:06:23.601371Z"),
            (4_107_542_400, 0, "2100-03-01T00:00:00.000000Z"),
        ] {
            let time = UNIX_EPOCH + Duration::from_secs(secs) + Duration::from_micros(micros);
            assert_eq!(format_time(time), text);
        }
        assert_eq!(
            format_time(UNIX_EPOCH - Duration::from_secs(1)),
            "1970-01-01T00:00:00.000000Z"
        );
    }
}
