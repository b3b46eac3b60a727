//! Messages as a reader wants them: what is set, and nothing else.

use std::fmt::Debug;

/// Values that a field has when it is not set, as `Debug` shows them.
const UNSET: [&str; 6] = ["0", "b\"\"", "\"\"", "false", "None", "[]"];

/// A message's `Debug` text without the fields that are not set.
pub(super) fn terse(message: &impl Debug) -> String {
    let mut text = format!("{message:?}");
    // Fields of enum type show the first variant's name, whatever it is called.
    for first in ["Key", "Equal", "Version"] {
        for field in ["sort_target", "result", "target"] {
            text = text.replace(&format!("{field}: {first}, "), "");
        }
    }
    let mut kept = String::with_capacity(text.len());
    let mut rest = text.as_str();
    while let Some(at) = rest.find(|c: char| c.is_ascii_lowercase()) {
        let (before, from) = rest.split_at(at);
        let preceded = before
            .chars()
            .next_back()
            .or_else(|| kept.chars().next_back());
        kept.push_str(before);
        match unset_field(from) {
            Some(len) if matches!(preceded, Some(' ' | '{')) => {
                rest = from.get(len..).unwrap_or_default();
            }
            _ => {
                let word = from
                    .find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
                    .unwrap_or(from.len());
                let (word, further) = from.split_at(word);
                kept.push_str(word);
                rest = further;
            }
        }
    }
    kept.push_str(rest);
    kept.replace(", }", " }").replace("{ }", "{}")
}

/// The length of `name: value, ` (or `name: value ` before a brace) with an unset value.
fn unset_field(text: &str) -> Option<usize> {
    let colon = text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_')?;
    let value = text.get(colon..)?.strip_prefix(": ")?;
    UNSET.iter().find_map(|unset| {
        let after = value.strip_prefix(unset)?;
        let end = if after.starts_with(", ") {
            2
        } else if after.starts_with(" }") {
            1
        } else {
            return None;
        };
        Some(colon + 2 + unset.len() + end)
    })
}

#[cfg(test)]
mod tests {
    use cairn_proto::etcdserverpb::{RangeRequest, ResponseHeader, WatchResponse};

    use super::*;

    #[test]
    fn only_what_is_set_is_shown() {
        let request = RangeRequest {
            key: "a: 0, b".into(),
            limit: 10,
            ..RangeRequest::default()
        };
        assert_eq!(
            terse(&request),
            r#"RangeRequest { key: b"a: 0, b", limit: 10 }"#
        );
        assert_eq!(terse(&RangeRequest::default()), "RangeRequest {}");
    }

    #[test]
    fn nested_messages_are_shown_without_what_is_unset() {
        let response = WatchResponse {
            header: Some(ResponseHeader {
                revision: 20,
                ..ResponseHeader::default()
            }),
            canceled: true,
            ..WatchResponse::default()
        };
        assert_eq!(
            terse(&response),
            "WatchResponse { header: Some(ResponseHeader { revision: 20 }), canceled: true }"
        );
    }
}
