//! Where one JSON value ends and the next begins, in a body that comes in pieces.

use bytes::{Bytes, BytesMut};

/// Cuts a body into its JSON objects. Each byte is looked at once, however it comes.
///
/// Invariants:
/// 1. `seen` bytes of the buffer are scanned, and `depth` and `place` say where that has led.
/// 2. No value that is whole stays in the buffer after [`Self::next`] has answered `None`.
#[derive(Debug, Default)]
pub(super) struct Values {
    buffer: BytesMut,
    seen: usize,
    depth: usize,
    place: Place,
}

#[derive(Debug, Default, PartialEq, Eq)]
enum Place {
    #[default]
    Outside,
    InString,
    /// Behind a backslash.
    Escaped,
}

impl Values {
    /// Takes in what has come.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// Bytes that wait for the end of their value.
    pub(super) fn len(&self) -> usize {
        self.buffer.len()
    }

    /// The next value that is whole. What does not begin as an object or a list is not looked into:
    /// all that is there is handed out, for the parser to say what is wrong with it.
    pub(super) fn next(&mut self) -> Option<Bytes> {
        if self.depth == 0 {
            let blank = self.buffer.len() - self.buffer.trim_ascii_start().len();
            let _ = self.buffer.split_to(blank);
            self.seen = 0;
            let first = *self.buffer.first()?;
            if first != b'{' && first != b'[' {
                return Some(self.rest());
            }
        }
        while let Some(byte) = self.buffer.get(self.seen) {
            self.seen += 1;
            match (&self.place, byte) {
                (Place::Outside, b'"') => self.place = Place::InString,
                (Place::Outside, b'{' | b'[') => self.depth += 1,
                (Place::Outside, b'}' | b']') => {
                    self.depth = self.depth.saturating_sub(1);
                    if self.depth == 0 {
                        let seen = std::mem::take(&mut self.seen);
                        return Some(self.buffer.split_to(seen).freeze());
                    }
                }
                (Place::InString, b'\\') => self.place = Place::Escaped,
                (Place::InString, b'"') | (Place::Escaped, _) => {
                    self.place = match self.place {
                        Place::Escaped => Place::InString,
                        Place::Outside | Place::InString => Place::Outside,
                    }
                }
                (Place::Outside | Place::InString, _) => {}
            }
        }
        None
    }

    /// Everything that is left, whole or not.
    pub(super) fn rest(&mut self) -> Bytes {
        let rest = self.buffer.split().freeze();
        *self = Self::default();
        rest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(pieces: &[&str]) -> Vec<String> {
        let mut values = Values::default();
        let mut found = Vec::new();
        let text = |bytes: Bytes| String::from_utf8(bytes.to_vec()).unwrap();
        for piece in pieces {
            values.push(piece.as_bytes());
            while let Some(value) = values.next() {
                found.push(text(value));
            }
        }
        found.push(text(values.rest()));
        found
    }

    #[test]
    fn values_are_cut_where_they_end_however_they_come() {
        let body = r#" {"a":"}\"{"}{"b":[{}]}
            {"c":{"d":"\\"}} {"e""#;
        let whole = [
            r#"{"a":"}\"{"}"#,
            r#"{"b":[{}]}"#,
            r#"{"c":{"d":"\\"}}"#,
            r#"{"e""#,
        ];
        assert_eq!(cut(&[body]), whole);
        let letters: Vec<String> = body.chars().map(String::from).collect();
        let letters: Vec<&str> = letters.iter().map(String::as_str).collect();
        assert_eq!(cut(&letters), whole);
    }

    #[test]
    fn what_is_no_object_is_handed_out_as_it_is() {
        assert_eq!(cut(&["  null"]), ["null", ""]);
        assert_eq!(cut(&["]"]), ["]", ""]);
        assert_eq!(cut(&["  "]), [""]);
        assert_eq!(cut(&["[1]x"]), ["[1]", "x", ""]);
    }
}
