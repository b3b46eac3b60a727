//! Lines of standard input as words: blanks part them, quotes keep them together.

use crate::failure::Failure;
use crate::golang::scan_quoted;

/// The words of a line. A word in double quotes may hold Go's escapes, one in single quotes holds
/// everything but single quotes; a quote inside a word is part of it, and one that is not closed
/// is passed over.
///
/// # Errors
///
/// An escape that there is not.
pub(crate) fn words(line: &str) -> Result<Vec<Vec<u8>>, Failure> {
    let mut words = Vec::new();
    let mut rest = line;
    while let Some(first) = rest.chars().next() {
        let behind_first = rest.get(first.len_utf8()..).unwrap_or_default();
        match first {
            '"' => match closing_quote(behind_first) {
                Some(length) => {
                    let (quoted, behind) = rest.split_at(length + 2);
                    let scanned = scan_quoted(quoted);
                    let (word, _) = scanned.ok_or_else(|| Failure::input("invalid syntax"))?;
                    words.push(word);
                    rest = behind;
                }
                None => rest = behind_first,
            },
            '\'' => match behind_first.split_once('\'') {
                Some((word, behind)) => {
                    words.push(word.as_bytes().to_vec());
                    rest = behind;
                }
                None => rest = behind_first,
            },
            blank if blank.is_ascii_whitespace() => rest = behind_first,
            _ => {
                let end = rest.find(|c: char| c.is_ascii_whitespace());
                let (word, behind) = rest.split_at(end.unwrap_or(rest.len()));
                words.push(word.as_bytes().to_vec());
                rest = behind;
            }
        }
    }
    Ok(words)
}

/// Where the double quote is that ends a text, past escaped ones.
fn closing_quote(text: &str) -> Option<usize> {
    let mut is_escaped = false;
    for (at, c) in text.char_indices() {
        match c {
            '\n' if is_escaped => return None,
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = true,
            '"' => return Some(at),
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn texts(line: &str) -> Vec<String> {
        let words = words(line).unwrap();
        words
            .iter()
            .map(|word| String::from_utf8_lossy(word).into_owned())
            .collect()
    }

    #[test]
    fn quotes_keep_words_together() {
        let cases: [(&str, &[&str]); 8] = [
            ("put a b", &["put", "a", "b"]),
            ("  put\ta  ", &["put", "a"]),
            (r#"put "a b" 'c "d'"#, &["put", "a b", "c \"d"]),
            (r#"put "a\n\"b" x"#, &["put", "a\n\"b", "x"]),
            ("it's", &["it's"]),
            ("put \"open", &["put", "open"]),
            ("--rev=1 ''", &["--rev=1", ""]),
            ("", &[]),
        ];
        for (line, expected) in cases {
            assert_eq!(texts(line), expected, "{line}");
        }
    }

    #[test]
    fn an_escape_that_there_is_not_is_refused() {
        assert_eq!(words(r#"put "a\q""#), Err(Failure::input("invalid syntax")));
    }

    proptest! {
        #[test]
        fn no_line_makes_it_panic(line in "[ -~\\n\"'\\\\é]{0,40}") {
            let _ = words(&line);
        }
    }
}
