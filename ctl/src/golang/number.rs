//! Numbers as Go's `strconv` reads them, with its words when it cannot, and sizes for people.

/// How digits are to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Base {
    /// As flags are: `0x`, `0b`, `0o` and `0` say the base, and underscores may part digits.
    Prefixed,
    /// Ten.
    Decimal,
    /// Sixteen, without a prefix.
    Hex,
}

/// A signed number of 64 bits.
///
/// # Errors
///
/// Go's words for what is not one.
pub(crate) fn parse_i64(text: &str, base: Base) -> Result<i64, String> {
    let error = |reason| format!("strconv.ParseInt: parsing {}: {reason}", quoted(text));
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    let magnitude = magnitude(digits, base).map_err(error)?;
    i64::try_from(i128::from(magnitude) * sign).map_err(|_| error(OUT_OF_RANGE))
}

/// An unsigned number of 64 bits.
///
/// # Errors
///
/// Go's words for what is not one.
pub(crate) fn parse_u64(text: &str, base: Base) -> Result<u64, String> {
    let error = |reason| format!("strconv.ParseUint: parsing {}: {reason}", quoted(text));
    magnitude(text, base).map_err(error)
}

/// A truth value.
///
/// # Errors
///
/// Go's words for what is none.
pub(crate) fn parse_bool(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err(format!(
            "strconv.ParseBool: parsing {}: {INVALID}",
            quoted(text)
        )),
    }
}

const INVALID: &str = "invalid syntax";
const OUT_OF_RANGE: &str = "value out of range";

fn quoted(text: &str) -> String {
    super::quote(text.as_bytes())
}

fn magnitude(text: &str, base: Base) -> Result<u64, &'static str> {
    let (digits, radix) = match base {
        Base::Decimal => (text.to_owned(), 10),
        Base::Hex => (text.to_owned(), 16),
        Base::Prefixed => prefixed(text)?,
    };
    if digits.is_empty() || !digits.chars().all(|c| c.is_digit(radix)) {
        return Err(INVALID);
    }
    u64::from_str_radix(&digits, radix).map_err(|_| OUT_OF_RANGE)
}

/// The digits without prefix and underscores, and their base.
fn prefixed(text: &str) -> Result<(String, u32), &'static str> {
    let lower = text.to_ascii_lowercase();
    let (digits, radix) = [("0x", 16), ("0b", 2), ("0o", 8)]
        .iter()
        .find_map(|(prefix, radix)| Some((lower.strip_prefix(prefix)?, *radix)))
        .unwrap_or_else(|| match lower.strip_prefix('0') {
            Some(digits) if !digits.is_empty() => (digits, 8),
            _ => (lower.as_str(), 10),
        });
    // An underscore stands between digits, or between the prefix and a digit.
    let behind_prefix = if radix == 10 {
        digits
    } else {
        digits.strip_prefix('_').unwrap_or(digits)
    };
    let misplaced = behind_prefix.starts_with('_')
        || behind_prefix.ends_with('_')
        || behind_prefix.contains("__");
    if misplaced {
        return Err(INVALID);
    }
    Ok((behind_prefix.replace('_', ""), radix))
}

/// A number of bytes in decimal units, with two digits where one stands before the point.
pub(crate) fn human_bytes(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["kB", "MB", "GB", "TB", "PB", "EB"];
    if bytes < 10 {
        return format!("{bytes} B");
    }
    if bytes < 1000 {
        return format!("{bytes} B");
    }
    let mut unit = 1_u64;
    let mut name = "B";
    for next in UNITS {
        if bytes / 1000 < unit {
            break;
        }
        unit *= 1000;
        name = next;
    }
    // Tenths, rounded half up.
    let tenths = (u128::from(bytes) * 100 / u128::from(unit) + 5) / 10;
    if tenths < 100 {
        format!("{}.{} {name}", tenths / 10, tenths % 10)
    } else {
        // `%.0f` rounds halves to even.
        let (whole, rest) = (tenths / 10, tenths % 10);
        let up = rest > 5 || rest == 5 && whole % 2 == 1;
        format!("{} {name}", whole + u128::from(up))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_flags_may_have_a_prefix_and_underscores() {
        for (text, value) in [("0x10", 16), ("1_0", 10), ("010", 8), ("-1", -1), ("0", 0)] {
            assert_eq!(parse_i64(text, Base::Prefixed), Ok(value), "{text}");
        }
        for text in ["", "z", "1.5", "_1", "1_", "1__0", "0x", "--1"] {
            let error = format!("strconv.ParseInt: parsing {}: invalid syntax", quoted(text));
            assert_eq!(parse_i64(text, Base::Prefixed), Err(error));
        }
    }

    #[test]
    fn numbers_have_64_bits() {
        assert_eq!(
            parse_i64("-9223372036854775808", Base::Decimal),
            Ok(i64::MIN)
        );
        assert_eq!(parse_u64("ffffffffffffffff", Base::Hex), Ok(u64::MAX));
        let error = "strconv.ParseInt: parsing \"9223372036854775808\": value out of range";
        assert_eq!(
            parse_i64("9223372036854775808", Base::Decimal),
            Err(error.to_owned())
        );
        let error = "strconv.ParseUint: parsing \"-1\": invalid syntax";
        assert_eq!(parse_u64("-1", Base::Hex), Err(error.to_owned()));
    }

    #[test]
    fn sizes_are_in_decimal_units() {
        let cases = [
            (0, "0 B"),
            (82, "82 B"),
            (999, "999 B"),
            (1000, "1.0 kB"),
            (16384, "16 kB"),
            (24576, "25 kB"),
            (2_350_000, "2.4 MB"),
            (2_147_483_648, "2.1 GB"),
            (u64::MAX, "18 EB"),
        ];
        for (bytes, text) in cases {
            assert_eq!(human_bytes(bytes), text);
        }
    }
}
