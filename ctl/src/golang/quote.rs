//! Go's quoted strings: `strconv.Quote` (`%q`) and its inverse.

use std::fmt::Write as _;

/// Text between quotes, with what does not print escaped; bytes that are not UTF-8 as `\xNN`.
pub(crate) fn quote(bytes: &[u8]) -> String {
    let mut quoted = String::with_capacity(bytes.len() + 2);
    quoted.push('"');
    for chunk in bytes.utf8_chunks() {
        chunk.valid().chars().for_each(|c| escape(c, &mut quoted));
        for byte in chunk.invalid() {
            let _ = write!(quoted, "\\x{byte:02x}");
        }
    }
    quoted.push('"');
    quoted
}

fn escape(c: char, quoted: &mut String) {
    let short = match c {
        '"' => "\\\"",
        '\\' => "\\\\",
        '\x07' => "\\a",
        '\x08' => "\\b",
        '\x0c' => "\\f",
        '\n' => "\\n",
        '\r' => "\\r",
        '\t' => "\\t",
        '\x0b' => "\\v",
        _ if is_printable(c) => return quoted.push(c),
        _ => "",
    };
    let code = u32::from(c);
    let _ = match code {
        _ if !short.is_empty() => {
            quoted.push_str(short);
            Ok(())
        }
        ..0x20 | 0x7f => write!(quoted, "\\x{code:02x}"),
        ..0x1_0000 => write!(quoted, "\\u{code:04x}"),
        _ => write!(quoted, "\\U{code:08x}"),
    };
}

/// What Go prints as it is: letters, marks, numbers, punctuation, symbols and the blank.
fn is_printable(c: char) -> bool {
    // Behind a letter, Rust escapes just what does not print.
    let behind_letter = ['a', c].iter().collect::<String>();
    c == '\'' || c == ' ' || behind_letter.escape_debug().nth(1) == Some(c) && c != '\\'
}

/// Reads a quoted text, in double quotes or raw in backquotes, from the beginning; what follows
/// comes back with it.
pub(crate) fn scan_quoted(text: &str) -> Option<(Vec<u8>, &str)> {
    if let Some(raw) = text.strip_prefix('`') {
        let (raw, rest) = raw.split_once('`')?;
        return Some((raw.replace('\r', "").into_bytes(), rest));
    }
    let mut rest = text.strip_prefix('"')?;
    let mut bytes = Vec::new();
    loop {
        let mut chars = rest.chars();
        let c = chars.next()?;
        rest = chars.as_str();
        match c {
            '"' => return Some((bytes, rest)),
            '\n' => return None,
            '\\' => rest = scan_escape(rest, &mut bytes)?,
            c => bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
}

/// Reads what follows a backslash.
fn scan_escape<'a>(text: &'a str, bytes: &mut Vec<u8>) -> Option<&'a str> {
    let mut chars = text.chars();
    let kind = chars.next()?;
    let rest = chars.as_str();
    let simple = match kind {
        'a' => 0x07,
        'b' => 0x08,
        'f' => 0x0c,
        'n' => b'\n',
        'r' => b'\r',
        't' => b'\t',
        'v' => 0x0b,
        '\\' => b'\\',
        '"' => b'"',
        'x' => return scan_code(rest, 2, 16, false, bytes),
        'u' => return scan_code(rest, 4, 16, true, bytes),
        'U' => return scan_code(rest, 8, 16, true, bytes),
        '0'..='7' => return scan_code(text, 3, 8, false, bytes),
        _ => return None,
    };
    bytes.push(simple);
    Some(rest)
}

fn scan_code<'a>(
    text: &'a str,
    digits: usize,
    radix: u32,
    is_char: bool,
    bytes: &mut Vec<u8>,
) -> Option<&'a str> {
    let (code, rest) = text.split_at_checked(digits)?;
    if code.starts_with(['+', '-']) {
        return None;
    }
    let code = u32::from_str_radix(code, radix).ok()?;
    if is_char {
        let c = char::from_u32(code)?;
        bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
    } else {
        bytes.push(u8::try_from(code).ok()?);
    }
    Some(rest)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn unquote(text: &str) -> Option<Vec<u8>> {
        match scan_quoted(text) {
            Some((bytes, "")) => Some(bytes),
            _ => None,
        }
    }

    #[test]
    fn text_is_quoted_as_go_quotes_it() {
        let cases: [(&[u8], &str); 8] = [
            (b"", r#""""#),
            (b"plain 'text'", r#""plain 'text'""#),
            (b"a\"b\\c", r#""a\"b\\c""#),
            (b"\x00\x07\n\x7f", r#""\x00\a\n\x7f""#),
            (b"\xff\xc3", r#""\xff\xc3""#),
            ("é日".as_bytes(), r#""é日""#),
            ("\u{85}\u{200b}\u{a0}".as_bytes(), r#""\u0085\u200b\u00a0""#),
            ("\u{e000}\u{10ffff}".as_bytes(), r#""\ue000\U0010ffff""#),
        ];
        for (bytes, quoted) in cases {
            assert_eq!(quote(bytes), quoted);
        }
    }

    #[test]
    fn what_follows_a_quoted_text_is_left() {
        assert_eq!(
            scan_quoted(r#""a\"b") > "#),
            Some((b"a\"b".to_vec(), ") > "))
        );
        assert_eq!(scan_quoted("`a\\b`rest"), Some((b"a\\b".to_vec(), "rest")));
        for text in ["", "a", "\"a", "\"a\\q\"", "\"\\400\"", "\"a\nb\""] {
            assert_eq!(scan_quoted(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn unquoting_undoes_quoting(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            prop_assert_eq!(unquote(&quote(&bytes)), Some(bytes));
        }

        #[test]
        fn no_text_makes_unquoting_panic(text in ".{0,40}") {
            let _ = unquote(&text);
        }
    }
}
