//! The four forms in which etcdutl prints one record.

use std::fmt::Write;

use clap::ValueEnum;
use serde::Serialize;

use super::CommandError;

/// A form of output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// Values, with commas between them
    Simple,
    /// A table
    Table,
    /// JSON
    Json,
    /// A line for each field
    Fields,
}

/// A field of a record: its name in a table and in lines, and how each shows its value.
pub(super) struct Field {
    pub(super) column: &'static str,
    pub(super) name: &'static str,
    pub(super) shown: String,
    pub(super) value: String,
}

impl Field {
    /// A field that is shown as it is.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "a number or a text, whichever is at hand"
    )]
    pub(super) fn plain(column: &'static str, name: &'static str, value: impl ToString) -> Self {
        let value = value.to_string();
        Self {
            column,
            name,
            shown: value.clone(),
            value,
        }
    }
}

/// Adds a record to `text`.
pub(super) fn print(
    format: Format,
    record: &impl Serialize,
    fields: &[Field],
    text: &mut String,
) -> Result<(), CommandError> {
    match format {
        Format::Simple => {
            let shown: Vec<_> = fields.iter().map(|field| field.shown.as_str()).collect();
            writeln!(text, "{}", shown.join(", "))?;
        }
        Format::Json => writeln!(text, "{}", serde_json::to_string(record)?)?,
        Format::Fields => {
            for field in fields {
                writeln!(text, "\"{}\" : {}", field.name, field.value)?;
            }
        }
        Format::Table => table(fields, text)?,
    }
    Ok(())
}

fn table(fields: &[Field], text: &mut String) -> Result<(), CommandError> {
    let widths = fields
        .iter()
        .map(|it| it.column.len().max(it.shown.len()) + 2);
    let widths: Vec<usize> = widths.collect();
    let rule = |text: &mut String, [left, middle, right]: [char; 3]| {
        let lines: Vec<_> = widths.iter().map(|width| "─".repeat(*width)).collect();
        writeln!(text, "{left}{}{right}", lines.join(&middle.to_string()))
    };
    rule(text, ['┌', '┬', '┐'])?;
    for (field, width) in fields.iter().zip(&widths) {
        write!(text, "│{:^width$}", field.column)?;
    }
    writeln!(text, "│")?;
    rule(text, ['├', '┼', '┤'])?;
    for (field, width) in fields.iter().zip(&widths) {
        write!(text, "│{:>width$} ", field.shown, width = *width - 1)?;
    }
    writeln!(text, "│")?;
    rule(text, ['└', '┴', '┘'])?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As etcdutl 3.7.1 printed it.
    #[test]
    fn a_table_is_drawn_as_etcdutls() {
        let fields = [
            Field::plain("HASH", "Hash", "6fffb77f"),
            Field::plain("REVISION", "Revision", 6),
            Field::plain("TOTAL KEYS", "Keys", 5),
        ];
        let mut text = String::new();
        print(Format::Table, &(), &fields, &mut text).unwrap();
        let expected = "\
┌──────────┬──────────┬────────────┐
│   HASH   │ REVISION │ TOTAL KEYS │
├──────────┼──────────┼────────────┤
│ 6fffb77f │        6 │          5 │
└──────────┴──────────┴────────────┘
";
        assert_eq!(text, expected);
        text.clear();
        print(Format::Fields, &(), &fields[1..], &mut text).unwrap();
        assert_eq!(text, "\"Revision\" : 6\n\"Keys\" : 5\n");
    }
}
