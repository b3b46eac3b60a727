//! JSON as Go's `encoding/json` writes it: compact, fields in order, empty ones left out, `<`,
//! `>` and `&` escaped.

use std::fmt::{Display, Write as _};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// A value, already written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Json(String);

impl Json {
    pub(crate) fn null() -> Self {
        Self("null".to_owned())
    }

    pub(crate) fn raw(value: impl Display) -> Self {
        Self(value.to_string())
    }

    /// Bytes in base64.
    pub(crate) fn bytes(bytes: &[u8]) -> Self {
        Self(format!("\"{}\"", STANDARD.encode(bytes)))
    }

    pub(crate) fn string(text: &str) -> Self {
        let mut json = String::with_capacity(text.len() + 2);
        json.push('"');
        for c in text.chars() {
            let _ = match c {
                '"' => json.write_str("\\\""),
                '\\' => json.write_str("\\\\"),
                '\x08' => json.write_str("\\b"),
                '\x0c' => json.write_str("\\f"),
                '\n' => json.write_str("\\n"),
                '\r' => json.write_str("\\r"),
                '\t' => json.write_str("\\t"),
                '\0'..='\x1f' | '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                    write!(json, "\\u{:04x}", u32::from(c))
                }
                c => json.write_char(c),
            };
        }
        json.push('"');
        Self(json)
    }

    pub(crate) fn list(items: impl IntoIterator<Item = Self>) -> Self {
        let items: Vec<String> = items.into_iter().map(|item| item.0).collect();
        Self(format!("[{}]", items.join(",")))
    }

    pub(crate) fn into_text(self) -> String {
        self.0
    }
}

/// An object under way.
#[derive(Clone, Debug, Default)]
pub(crate) struct Object(String);

impl Object {
    /// A field that is there whatever its value.
    pub(crate) fn always(mut self, name: &str, value: &Json) -> Self {
        if !self.0.is_empty() {
            self.0.push(',');
        }
        let _ = write!(self.0, "\"{name}\":{}", value.0);
        self
    }

    pub(crate) fn optional(self, name: &str, value: Option<Json>) -> Self {
        match value {
            Some(value) => self.always(name, &value),
            None => self,
        }
    }

    /// A number, left out if it is zero.
    pub(crate) fn number<N: Display + Default + PartialEq>(self, name: &str, value: N) -> Self {
        let value = (value != N::default()).then(|| Json::raw(value));
        self.optional(name, value)
    }

    /// A truth value, left out if it is false.
    pub(crate) fn truth(self, name: &str, value: bool) -> Self {
        self.optional(name, value.then(|| Json::raw(true)))
    }

    pub(crate) fn bytes(self, name: &str, value: &[u8]) -> Self {
        self.optional(name, (!value.is_empty()).then(|| Json::bytes(value)))
    }

    pub(crate) fn string(self, name: &str, value: &str) -> Self {
        self.optional(name, (!value.is_empty()).then(|| Json::string(value)))
    }

    pub(crate) fn list<T>(self, name: &str, items: &[T], json: impl Fn(&T) -> Json) -> Self {
        let list = (!items.is_empty()).then(|| Json::list(items.iter().map(json)));
        self.optional(name, list)
    }

    /// Fields of another object, in the place of one.
    pub(crate) fn embed(mut self, other: &Self) -> Self {
        if !self.0.is_empty() && !other.0.is_empty() {
            self.0.push(',');
        }
        self.0.push_str(&other.0);
        self
    }

    pub(crate) fn end(self) -> Json {
        Json(format!("{{{}}}", self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_escaped_for_html_too() {
        let json = Json::string("a<b>&\"\\\u{1}\n\u{2028}é");
        assert_eq!(
            json.into_text(),
            "\"a\\u003cb\\u003e\\u0026\\\"\\\\\\u0001\\n\\u2028é\""
        );
    }

    #[test]
    fn empty_fields_are_left_out() {
        let object = Object::default()
            .number("a", 0_u64)
            .string("b", "")
            .truth("c", false)
            .bytes("d", b"x")
            .list("e", &[1, 2], |item| Json::raw(item))
            .always("f", &Json::null());
        assert_eq!(
            object.end().into_text(),
            r#"{"d":"eA==","e":[1,2],"f":null}"#
        );
    }
}
