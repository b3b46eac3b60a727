//! Forms as Go's `net/http` reads them: those of the body before those of the query.

use std::fmt;

use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, Method};

/// The longest form that is read; etcd's, that is Go's.
pub(super) const FORM_BYTES_MAX: usize = 10 << 20;

/// The fields of a request.
#[derive(Debug, Default)]
pub(super) struct Form(Vec<(Vec<u8>, Vec<u8>)>);

/// Why a form cannot be read, in Go's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FormError(pub(super) String);

impl fmt::Display for FormError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a plus sign is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Spaces {
    /// A space.
    AsPlus,
    /// A plus sign.
    AsTheyAre,
}

/// Whether a request's body is a form.
pub(super) fn has_form(method: &Method, headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).and_then(|it| it.to_str().ok());
    let kind = kind.and_then(|it| it.split(';').next()).unwrap_or_default();
    [Method::POST, Method::PUT, Method::PATCH].contains(method)
        && kind
            .trim()
            .eq_ignore_ascii_case("application/x-www-form-urlencoded")
}

impl Form {
    /// Reads the fields of body and query.
    ///
    /// # Errors
    ///
    /// The first thing that is wrong, in the body before the query.
    pub(super) fn parse(body: &[u8], query: &str) -> Result<Self, FormError> {
        let mut form = Self::default();
        let of_body = form.add(body);
        let of_query = form.add(query.as_bytes());
        of_body.and(of_query)?;
        Ok(form)
    }

    fn add(&mut self, text: &[u8]) -> Result<(), FormError> {
        let mut first_error = Ok(());
        for pair in text.split(|&byte| byte == b'&') {
            if pair.is_empty() {
                continue;
            }
            let read = if pair.contains(&b';') {
                let text = "invalid semicolon separator in query".to_owned();
                Err(FormError(text))
            } else {
                read_pair(pair)
            };
            match read {
                Ok(pair) => self.0.push(pair),
                Err(error) => first_error = first_error.and(Err(error)),
            }
        }
        first_error
    }

    /// The first value of a field, if it is there.
    pub(super) fn get(&self, name: &str) -> Option<&[u8]> {
        let found = self.0.iter().find(|(field, _)| field == name.as_bytes());
        found.map(|(_, value)| value.as_slice())
    }

    /// A number; 0 if the field is not there, `None` if it is none.
    pub(super) fn number(&self, name: &str) -> Option<u64> {
        match self.get(name) {
            None => Some(0),
            Some(digits) if digits.iter().all(u8::is_ascii_digit) => {
                std::str::from_utf8(digits).ok()?.parse().ok()
            }
            Some(_) => None,
        }
    }

    /// A truth value; false if the field is not there, `None` if it is none.
    pub(super) fn flag(&self, name: &str) -> Option<bool> {
        match self.get(name) {
            None | Some(b"0" | b"f" | b"F" | b"FALSE" | b"false" | b"False") => Some(false),
            Some(b"1" | b"t" | b"T" | b"TRUE" | b"true" | b"True") => Some(true),
            Some(_) => None,
        }
    }
}

fn read_pair(pair: &[u8]) -> Result<(Vec<u8>, Vec<u8>), FormError> {
    let equals = pair.iter().position(|&byte| byte == b'=');
    let (name, value) = match equals {
        Some(at) => (
            pair.get(..at).unwrap_or_default(),
            pair.get(at + 1..).unwrap_or_default(),
        ),
        None => (pair, &b""[..]),
    };
    Ok((
        unescape_bytes(name, Spaces::AsPlus)?,
        unescape_bytes(value, Spaces::AsPlus)?,
    ))
}

/// Takes the escapes out of a text.
///
/// # Errors
///
/// [`FormError`] with the first escape that is none.
pub(super) fn unescape(text: &str, spaces: Spaces) -> Result<Vec<u8>, FormError> {
    unescape_bytes(text.as_bytes(), spaces)
}

fn unescape_bytes(text: &[u8], spaces: Spaces) -> Result<Vec<u8>, FormError> {
    let mut plain = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&byte, after)) = rest.split_first() {
        let is_special = |byte: &u8| *byte == b'%' || *byte == b'+';
        let run = rest.iter().position(is_special).unwrap_or(rest.len());
        if run > 1 {
            let (as_it_is, others) = rest.split_at(run);
            plain.extend_from_slice(as_it_is);
            rest = others;
            continue;
        }
        match byte {
            b'%' => {
                let digits = after.split_first_chunk::<2>();
                let Some((escaped, after)) = digits.and_then(|(digits, after)| {
                    let value = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
                    digits
                        .iter()
                        .all(u8::is_ascii_hexdigit)
                        .then_some((value, after))
                }) else {
                    let shown = rest.get(..3).unwrap_or(rest);
                    let shown = quote(shown);
                    return Err(FormError(format!("invalid URL escape {shown}")));
                };
                plain.push(escaped);
                rest = after;
                continue;
            }
            b'+' if spaces == Spaces::AsPlus => plain.push(b' '),
            byte => plain.push(byte),
        }
        rest = after;
    }
    Ok(plain)
}

/// A text as Go's `%q` shows it, as far as it is ASCII.
fn quote(text: &[u8]) -> String {
    let mut quoted = String::from("\"");
    for char in String::from_utf8_lossy(text).chars() {
        match char {
            '"' | '\\' => quoted.extend(['\\', char]),
            _ => quoted.push(char),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_body_wins_over_the_query() {
        let form = Form::parse(b"value=1&a=%C3%A9+", "value=2&b=3&c").unwrap();
        assert_eq!(form.get("value"), Some(&b"1"[..]));
        assert_eq!(form.get("a"), Some("é ".as_bytes()));
        assert_eq!(form.get("b"), Some(&b"3"[..]));
        assert_eq!(form.get("c"), Some(&b""[..]));
        assert_eq!(form.get("d"), None);
    }

    #[test]
    fn what_go_cannot_read_is_refused_in_its_words() {
        for (body, text) in [
            ("%zz=1", "invalid URL escape \"%zz\""),
            ("a=%4", "invalid URL escape \"%4\""),
            ("a=%+1", "invalid URL escape \"%+1\""),
            ("a=1;b=2", "invalid semicolon separator in query"),
        ] {
            let refused = Form::parse(body.as_bytes(), "").unwrap_err();
            assert_eq!(refused.0, text, "{body}");
        }
    }

    #[test]
    fn numbers_and_flags_are_gos() {
        let form = Form::parse(
            b"n=7&big=18446744073709551616&neg=-1&plus=%2B1&e=&t=T&f=0",
            "",
        );
        let form = form.unwrap();
        assert_eq!(form.number("n"), Some(7));
        assert_eq!(form.number("none"), Some(0));
        for name in ["big", "neg", "plus", "e"] {
            assert_eq!(form.number(name), None, "{name}");
        }
        assert_eq!(form.flag("t"), Some(true));
        assert_eq!(form.flag("f"), Some(false));
        assert_eq!(form.flag("none"), Some(false));
        assert_eq!(form.flag("e"), None);
    }
}
