//! What has changed in a value, for people: JSON by path, other text as a whole.

use serde_json::Value;

use crate::golang::{human_bytes, quote};
use crate::paint::{Paint, Tone};

/// The longest value that is shown whole, in letters.
const SHOWN_MAX: usize = 120;

/// A value as one line: as it is if it is short text without line breaks, otherwise quoted and
/// cut.
pub(crate) fn brief(value: &[u8]) -> String {
    let text = std::str::from_utf8(value).ok();
    let plain = text.filter(|text| !text.chars().any(char::is_control));
    let line = match (plain, text) {
        (Some(plain), _) => plain.to_owned(),
        (None, Some(_)) => quote(value),
        (None, None) => return format!("<{} of bytes>", human_bytes(value.len() as u64)),
    };
    if line.chars().count() <= SHOWN_MAX {
        return line;
    }
    let cut: String = line.chars().take(SHOWN_MAX).collect();
    format!("{cut}… ({})", human_bytes(value.len() as u64))
}

/// A line a change, without ends of line.
pub(crate) fn lines(old: &[u8], new: &[u8], paint: Paint) -> Vec<String> {
    let json = |bytes: &[u8]| {
        let parsed = serde_json::from_slice::<Value>(bytes).ok();
        parsed.filter(|value| value.is_object() || value.is_array())
    };
    let mut changes = Vec::new();
    if let (Some(old), Some(new)) = (json(old), json(new)) {
        compare(".", &old, &new, paint, &mut changes);
        return changes;
    }
    if old != new {
        let (old, new) = (brief(old), brief(new));
        changes.push(paint.in_tone(Tone::Removed, format!("- {old}")).to_string());
        changes.push(paint.in_tone(Tone::Added, format!("+ {new}")).to_string());
    }
    changes
}

fn compare(path: &str, old: &Value, new: &Value, paint: Paint, changes: &mut Vec<String>) {
    match (old, new) {
        (Value::Object(old), Value::Object(new)) => {
            let mut names: Vec<&String> = old.keys().chain(new.keys()).collect();
            names.sort();
            names.dedup();
            for name in names {
                let path = format!("{}.{name}", path.trim_end_matches('.'));
                compare_optional(&path, old.get(name), new.get(name), paint, changes);
            }
        }
        (Value::Array(old), Value::Array(new)) => {
            for at in 0..old.len().max(new.len()) {
                let path = format!("{}[{at}]", path.trim_end_matches('.'));
                compare_optional(&path, old.get(at), new.get(at), paint, changes);
            }
        }
        (old, new) if old == new => {}
        (old, new) => {
            let change = format!("~ {path}: {old} → {new}");
            changes.push(paint.in_tone(Tone::Changed, change).to_string());
        }
    }
}

fn compare_optional(
    path: &str,
    old: Option<&Value>,
    new: Option<&Value>,
    paint: Paint,
    changes: &mut Vec<String>,
) {
    match (old, new) {
        (Some(old), Some(new)) => compare(path, old, new, paint, changes),
        (None, Some(new)) => {
            let change = format!("+ {path}: {new}");
            changes.push(paint.in_tone(Tone::Added, change).to_string());
        }
        (Some(old), None) => {
            let change = format!("- {path}: {old}");
            changes.push(paint.in_tone(Tone::Removed, change).to_string());
        }
        (None, None) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(old: &str, new: &str) -> Vec<String> {
        lines(old.as_bytes(), new.as_bytes(), Paint::none())
    }

    #[test]
    fn json_is_compared_by_path() {
        let old = r#"{"a":1,"b":{"c":[1,2]},"gone":null,"same":"x"}"#;
        let new = r#"{"a":2,"b":{"c":[1,3,4]},"new":true,"same":"x"}"#;
        let expected = [
            "~ .a: 1 → 2",
            "~ .b.c[1]: 2 → 3",
            "+ .b.c[2]: 4",
            "- .gone: null",
            "+ .new: true",
        ];
        assert_eq!(plain(old, new), expected);
        assert_eq!(plain(old, old), [""; 0]);
    }

    #[test]
    fn other_text_is_compared_as_a_whole() {
        assert_eq!(plain("a", "b\n"), ["- a", "+ \"b\\n\""]);
        assert_eq!(plain("a", "a"), [""; 0]);
        assert_eq!(brief(&[0xff; 2000]), "<2.0 kB of bytes>");
    }
}
