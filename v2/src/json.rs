//! Answers as JSON, spelled as Go's `encoding/json` spells etcd's: the order of fields, what is left
//! out, and how text is escaped.

use std::fmt::Write as _;

use crate::error::Error;
use crate::event::{Event, Shown};
use crate::timestamp::Timestamp;

const HEX: [char; 16] = [
    '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f',
];

/// Writes an event and a newline. `namespace` is cut off paths; without `nodes` only the action is
/// told.
pub fn write_event(out: &mut String, event: &Event, namespace: &str, nodes: bool) {
    for part in ["{\"action\":\"", event.action.name(), "\""] {
        out.push_str(part);
    }
    if nodes {
        out.push_str(",\"node\":");
        write_node(out, &event.node, namespace, event.at);
        if let Some(prev) = &event.prev {
            out.push_str(",\"prevNode\":");
            write_node(out, prev, namespace, event.at);
        }
    }
    out.push_str("}\n");
}

/// Writes an error and a newline. `namespace` is cut off its cause.
pub fn write_error(out: &mut String, error: &Error, namespace: &str) {
    let code = error.kind.code();
    let _ = write!(out, "{{\"errorCode\":{code},\"message\":");
    write_string(out, error.kind.message().as_bytes());
    let cause = without(namespace, &error.cause);
    if !cause.is_empty() {
        out.push_str(",\"cause\":");
        write_string(out, cause);
    }
    let _ = writeln!(out, ",\"index\":{}}}", error.index);
}

fn write_node(out: &mut String, node: &Shown, namespace: &str, now: Timestamp) {
    let mut before = '{';
    let mut name = |out: &mut String, name: &str| {
        out.push(before);
        before = ',';
        for part in ["\"", name, "\":"] {
            out.push_str(part);
        }
    };
    let shown = node.path.shown();
    let path = without(namespace, &shown);
    if !path.is_empty() {
        name(out, "key");
        write_string(out, path);
    }
    if let Some(value) = &node.value {
        name(out, "value");
        write_string(out, value);
    }
    if node.dir {
        name(out, "dir");
        out.push_str("true");
    }
    if let Some(expiration) = node.expiration {
        name(out, "expiration");
        let _ = write!(out, "\"{expiration}\"");
        let left = expiration.seconds_left(now);
        if left != 0 {
            name(out, "ttl");
            let _ = write!(out, "{left}");
        }
    }
    if !node.nodes.is_empty() {
        name(out, "nodes");
        for (place, child) in node.nodes.iter().enumerate() {
            out.push(if place == 0 { '[' } else { ',' });
            write_node(out, child, namespace, now);
        }
        out.push(']');
    }
    for (index, number) in [
        ("modifiedIndex", node.modified),
        ("createdIndex", node.created),
    ] {
        if number != 0 {
            name(out, index);
            let _ = write!(out, "{number}");
        }
    }
    if before == '{' {
        out.push('{');
    }
    out.push('}');
}

fn without<'t>(namespace: &str, text: &'t [u8]) -> &'t [u8] {
    text.strip_prefix(namespace.as_bytes()).unwrap_or(text)
}

/// Writes text as a JSON string: what is not UTF-8 is shown as such, and what means something in HTML
/// is escaped.
pub fn write_string(out: &mut String, text: &[u8]) {
    out.push('"');
    match std::str::from_utf8(text) {
        Ok(text) => write_text(out, text),
        Err(_) => {
            for chunk in text.utf8_chunks() {
                write_text(out, chunk.valid());
                // Go marks every byte that belongs to no character.
                for _ in chunk.invalid() {
                    write_escape(out, char::REPLACEMENT_CHARACTER);
                }
            }
        }
    }
    out.push('"');
}

fn write_text(out: &mut String, text: &str) {
    if text.bytes().all(is_plain) {
        return out.push_str(text);
    }
    let mut rest = text;
    while let Some(at) = rest.find(is_escaped) {
        let (plain, escaped) = rest.split_at(at);
        out.push_str(plain);
        let mut chars = escaped.chars();
        match chars.next() {
            Some('"') => out.push_str("\\\""),
            Some('\\') => out.push_str("\\\\"),
            Some('\n') => out.push_str("\\n"),
            Some('\r') => out.push_str("\\r"),
            Some('\t') => out.push_str("\\t"),
            Some(char) => write_escape(out, char),
            None => {}
        }
        rest = chars.as_str();
    }
    out.push_str(rest);
}

/// Whether a byte begins no character that [`is_escaped`]. The two beyond ASCII begin with `0xe2`.
const fn is_plain(byte: u8) -> bool {
    !matches!(byte, b'"' | b'\\' | b'<' | b'>' | b'&' | 0..=0x1f | 0xe2)
}

const fn is_escaped(char: char) -> bool {
    matches!(
        char,
        '"' | '\\' | '<' | '>' | '&' | '\u{2028}' | '\u{2029}' | '\0'..='\u{1f}'
    )
}

fn write_escape(out: &mut String, char: char) {
    out.push_str("\\u");
    for shift in [12, 8, 4, 0] {
        let digit = (u32::from(char) >> shift) & 0xf;
        out.push(HEX.get(digit as usize).copied().unwrap_or('0'));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;
    use crate::event::Action;
    use crate::path::NodePath;
    use bytes::Bytes;

    fn file(path: &[u8], value: &'static [u8]) -> Shown {
        Shown {
            path: NodePath::parse(path).unwrap(),
            value: Some(Bytes::from_static(value)),
            dir: false,
            expiration: None,
            nodes: Vec::new(),
            modified: 9,
            created: 8,
        }
    }

    fn shown(event: &Event) -> String {
        let mut out = String::new();
        write_event(&mut out, event, "/1", true);
        out
    }

    #[test]
    fn events_are_spelled_as_etcd_spells_them() {
        let second = 1_000_000_000;
        let mut event = Event {
            action: Action::Set,
            node: file(b"/1/uni c/\xc3\xa9", b"\xc3\xa9 \n\"<>&"),
            prev: None,
            refresh: false,
            at: Timestamp::from_nanos(0),
        };
        assert_eq!(
            shown(&event),
            concat!(
                r#"{"action":"set","node":{"key":"/uni c/é","value":"é \n\"\u003c\u003e\u0026","#,
                r#""modifiedIndex":9,"createdIndex":8}}"#,
                "\n"
            )
        );
        event.node = file(b"/1/t", b"");
        event.node.expiration = Some(Timestamp::from_nanos(3 * second));
        event.prev = Some(Shown {
            value: None,
            dir: true,
            ..file(b"/1/t", b"")
        });
        assert_eq!(
            shown(&event),
            concat!(
                r#"{"action":"set","node":{"key":"/t","value":"","expiration":"1970-01-01T00:00:03Z","#,
                r#""ttl":3,"modifiedIndex":9,"createdIndex":8},"#,
                r#""prevNode":{"key":"/t","dir":true,"modifiedIndex":9,"createdIndex":8}}"#,
                "\n"
            )
        );
        let mut out = String::new();
        write_event(&mut out, &event, "/1", false);
        assert_eq!(out, "{\"action\":\"set\"}\n");
    }

    #[test]
    fn the_root_has_neither_key_nor_index() {
        let root = Shown {
            value: None,
            dir: true,
            nodes: vec![file(b"/1/a", b"1"), file(b"/1/b", b"2")],
            modified: 0,
            created: 0,
            ..file(b"/1", b"")
        };
        let event = Event {
            action: Action::Get,
            node: root,
            prev: None,
            refresh: false,
            at: Timestamp::from_nanos(0),
        };
        assert_eq!(
            shown(&event),
            concat!(
                r#"{"action":"get","node":{"dir":true,"nodes":[{"key":"/a","value":"1","#,
                r#""modifiedIndex":9,"createdIndex":8},{"key":"/b","value":"2","#,
                r#""modifiedIndex":9,"createdIndex":8}]}}"#,
                "\n"
            )
        );
    }

    #[test]
    fn errors_are_spelled_as_etcd_spells_them() {
        let mut out = String::new();
        write_error(&mut out, &ErrorKind::KeyNotFound.about("/1/a", 5), "/1");
        write_error(&mut out, &ErrorKind::NotFile.about("/1", 5), "/1");
        assert_eq!(
            out,
            concat!(
                r#"{"errorCode":100,"message":"Key not found","cause":"/a","index":5}"#,
                "\n",
                r#"{"errorCode":102,"message":"Not a file","index":5}"#,
                "\n"
            )
        );
    }

    #[test]
    fn bytes_that_are_no_text_are_marked() {
        let mut out = String::new();
        write_string(&mut out, b"a\xff\xe2\x82b\x01\x7f\xe2\x80\xa8");
        assert_eq!(out, "\"a\\ufffd\\ufffd\\ufffdb\\u0001\x7f\\u2028\"");
    }
}
