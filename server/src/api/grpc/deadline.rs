//! How long a client waits: gRPC's metadata `grpc-timeout`.

use std::time::Duration;

use http::HeaderMap;
use tonic::{Code, Status};

const METADATA: &str = "grpc-timeout";
/// By gRPC's protocol over HTTP/2.
const DIGITS_MAX: usize = 8;

/// The time that a client gives a call; none if it waits for ever.
///
/// # Errors
///
/// A status for what is no time.
pub(crate) fn of(headers: &HeaderMap) -> Result<Option<Duration>, Status> {
    let Some(value) = headers.get(METADATA) else {
        return Ok(None);
    };
    let time = value.to_str().ok().and_then(parse);
    time.map(Some).ok_or_else(|| {
        let text = format!("malformed grpc-timeout: {value:?}");
        Status::new(Code::Internal, text)
    })
}

/// What a client is told that has waited in vain.
pub(crate) fn exceeded() -> Status {
    Status::new(Code::DeadlineExceeded, "context deadline exceeded")
}

fn parse(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let is_number = digits.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number || digits.len() > DIGITS_MAX {
        return None;
    }
    let number: u64 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(number * 3600)),
        "M" => Some(Duration::from_secs(number * 60)),
        "S" => Some(Duration::from_secs(number)),
        "m" => Some(Duration::from_millis(number)),
        "u" => Some(Duration::from_micros(number)),
        "n" => Some(Duration::from_nanos(number)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_up_to_eight_digits_and_a_unit() {
        for (text, time) in [
            ("99999999H", Some(Duration::from_secs(99_999_999 * 3600))),
            ("2M", Some(Duration::from_secs(120))),
            ("5S", Some(Duration::from_secs(5))),
            ("4999m", Some(Duration::from_millis(4999))),
            ("7u", Some(Duration::from_micros(7))),
            ("0n", Some(Duration::ZERO)),
            ("100000000S", None),
            ("5", None),
            ("S", None),
            ("", None),
            ("-5S", None),
            ("+5S", None),
            ("5s", None),
            ("5\u{b5}", None),
        ] {
            assert_eq!(parse(text), time, "{text:?}");
        }
    }
}
