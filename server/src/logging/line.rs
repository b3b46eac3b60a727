//! One event as one line: `{"level":…,"ts":…,"caller":…,"msg":…, fields…}`.
//!
//! Field names are written with dashes, as etcd's are: `member_id` becomes `member-id`.

use std::error::Error;
use std::fmt;
use std::fmt::Write as _;
use std::io::Write as _;

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Metadata};

use crate::settings::LogFormat;

/// A field of this name holds a JSON object whose members become fields of the line.
pub(crate) const SPLICED_FIELD: &str = "fields_json";

/// A longer text value is cut, so that no event makes a line without bound.
const TEXT_BYTES_MAX: usize = 16 * 1024;

/// What a line says.
pub(super) struct Line<'a> {
    pub(super) level: &'a str,
    pub(super) time: &'a str,
    pub(super) caller: &'a str,
    pub(super) message: &'a str,
    /// `,"name":value` for each field.
    pub(super) fields: &'a [u8],
}

impl Line<'_> {
    pub(super) fn format(&self, format: LogFormat) -> Vec<u8> {
        match format {
            LogFormat::Json => self.json(),
            LogFormat::Console => self.console(),
        }
    }

    fn json(&self) -> Vec<u8> {
        let mut line = Vec::with_capacity(160 + self.message.len() + self.fields.len());
        for (name, value) in [
            ("{\"level\":", self.level),
            (",\"ts\":", self.time),
            (",\"caller\":", self.caller),
            (",\"msg\":", self.message),
        ] {
            line.extend_from_slice(name.as_bytes());
            push_text(&mut line, value);
        }
        line.extend_from_slice(self.fields);
        line.extend_from_slice(b"}\n");
        line
    }

    /// Columns with tabs between them; fields are an object at the end.
    fn console(&self) -> Vec<u8> {
        let mut line = Vec::with_capacity(96 + self.message.len() + self.fields.len());
        for column in [self.time, self.level, self.caller] {
            line.extend_from_slice(column.as_bytes());
            line.push(b'\t');
        }
        // A message must not look like two lines.
        line.extend_from_slice(self.message.replace('\n', "\\n").as_bytes());
        if let Some(members) = self.fields.get(1..) {
            line.extend_from_slice(b"\t{");
            line.extend_from_slice(members);
            line.push(b'}');
        }
        line.push(b'\n');
        line
    }
}

/// The message and fields of an event.
#[derive(Default)]
pub(super) struct EventText {
    pub(super) message: String,
    pub(super) fields: Vec<u8>,
}

impl EventText {
    pub(super) fn of(event: &Event<'_>) -> Self {
        let mut text = Self::default();
        event.record(&mut text);
        text
    }

    fn push_name(&mut self, field: &Field) {
        self.fields.push(b',');
        push_text(&mut self.fields, &field.name().replace('_', "-"));
        self.fields.push(b':');
    }

    fn push_plain(&mut self, field: &Field, value: impl fmt::Display) {
        self.push_name(field);
        // Writing to a vector cannot fail.
        let _ = write!(self.fields, "{value}");
    }

    fn push_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            self.message.push_str(cut(value));
        } else if field.name() == SPLICED_FIELD {
            self.splice(value);
        } else {
            self.push_name(field);
            push_text(&mut self.fields, cut(value));
        }
    }

    fn splice(&mut self, object: &str) {
        let members = object
            .strip_prefix('{')
            .and_then(|rest| rest.strip_suffix('}'));
        if let Some(members) = members.filter(|members| !members.is_empty()) {
            self.fields.push(b',');
            self.fields.extend_from_slice(members.as_bytes());
        }
    }
}

impl Visit for EventText {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let mut text = String::new();
        // Writing to a String cannot fail; a Debug that fails leaves what it wrote.
        let _ = write!(text, "{value:?}");
        self.push_str(field, &text);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.push_str(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.push_plain(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.push_plain(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.push_plain(field, value);
    }

    fn record_i128(&mut self, field: &Field, value: i128) {
        self.push_plain(field, value);
    }

    fn record_u128(&mut self, field: &Field, value: u128) {
        self.push_plain(field, value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        if value.is_finite() {
            self.push_plain(field, value);
        } else {
            self.push_str(field, &value.to_string());
        }
    }

    /// The error and what caused it, joined by colons.
    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        let mut text = value.to_string();
        let mut source = value.source();
        while let Some(cause) = source {
            let cause_text = cause.to_string();
            if !text.contains(&cause_text) {
                text.push_str(": ");
                text.push_str(&cause_text);
            }
            source = cause.source();
        }
        self.push_str(field, &text);
    }
}

/// Lower case, as etcd has them; our finest level is its debug.
pub(super) fn level_name(level: Level) -> &'static str {
    match level {
        Level::ERROR => "error",
        Level::WARN => "warn",
        Level::INFO => "info",
        _ => "debug",
    }
}

/// `folder/file.rs:line`, the crate's name standing for its `src`.
pub(super) fn caller_of(metadata: &Metadata<'_>) -> String {
    let file = metadata.file().unwrap_or_else(|| metadata.target());
    let mut names: Vec<&str> = file
        .split(['/', '\\'])
        .filter(|name| *name != "src")
        .collect();
    let kept = names.split_off(names.len().saturating_sub(2));
    format!("{}:{}", kept.join("/"), metadata.line().unwrap_or(0))
}

fn cut(text: &str) -> &str {
    text.get(..text.floor_char_boundary(TEXT_BYTES_MAX))
        .unwrap_or(text)
}

fn push_text(line: &mut Vec<u8>, text: &str) {
    // Text is always JSON, and writing to a vector cannot fail.
    let _ = serde_json::to_writer(line, text);
}
