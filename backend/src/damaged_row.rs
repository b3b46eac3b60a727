//! A stored row that is not what was written, and what an operator can do about it.

use crate::table::Table;

/// What an operator can do about a database that is damaged.
pub const DAMAGED_ADVICE: &str = "the member's database is damaged: give it another member's with \
     `cairn rebuild`, put a backup in its place, or remove the member from its cluster and add it again with an \
     empty data directory";

/// A row that does not decode, contradicts another one, or is missing.
///
/// Nothing of such a database may be used: to pass over the row, or to take a default for it, would
/// give a member with fewer members, users or locks than it was told of.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("table {}, key {}: {reason}; {DAMAGED_ADVICE}", table.name(), shown(key))]
pub struct DamagedRow {
    /// The table.
    pub table: Table,
    /// The key; empty if it is the table as a whole.
    pub key: Vec<u8>,
    /// What is wrong.
    pub reason: String,
}

impl DamagedRow {
    /// A damaged row.
    #[must_use]
    pub fn new(table: Table, key: &[u8], reason: impl Into<String>) -> Self {
        Self {
            table,
            key: key.to_vec(),
            reason: reason.into(),
        }
    }
}

/// A key as an operator can read it: text in quotes, anything else in hexadecimal.
fn shown(key: &[u8]) -> String {
    if key.is_empty() {
        return "(all)".to_owned();
    }
    match std::str::from_utf8(key) {
        Ok(text) if !text.chars().any(char::is_control) => format!("\"{text}\""),
        _ => {
            let digits = key.iter().map(|byte| format!("{byte:02x}"));
            format!("0x{}", digits.collect::<String>())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_operator_is_told_the_table_the_key_and_what_to_do() {
        let text = DamagedRow::new(Table::Auth, b"authEnabled", "neither on nor off").to_string();
        assert!(
            text.starts_with("table auth, key \"authEnabled\": neither on nor off; "),
            "{text}"
        );
        assert!(text.ends_with(DAMAGED_ADVICE), "{text}");
        let bytes = DamagedRow::new(Table::Lease, &[0, 255], "x").to_string();
        assert!(bytes.starts_with("table lease, key 0x00ff: x"), "{bytes}");
        let all = DamagedRow::new(Table::Members, &[], "x").to_string();
        assert!(all.starts_with("table members, key (all): x"), "{all}");
    }
}
