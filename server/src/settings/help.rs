//! `--help`: every flag under its group, with default, meaning and state.

use std::fmt::Write as _;

use super::flag::{Flag, Group, State};
use super::flag_table::FLAGS;

const USAGE: &str = "\
Cairn stores keys and values for a cluster; it stands in for etcd.

Usage:
  cairn [flags]              run a member; without flags, data goes to ./default.etcd
  cairn --config-file FILE   run a member with the settings of a YAML file
  cairn --version            print the version
  cairn --help               print this text

Every flag is also a variable: --data-dir is ETCD_DATA_DIR. Setting both is an error.
Durations are written as in 100ms, 5s or 1h30m.
";

/// Columns of help text before it wraps.
const WIDTH: usize = 92;

const INDENT: &str = "      ";

pub(super) fn help_text() -> String {
    let mut text = USAGE.to_owned();
    for group in Group::SHOWN {
        push_line(&mut text, format_args!("\n{}:", group.title()));
        for flag in FLAGS.iter().filter(|flag| flag.group == group) {
            push_flag(&mut text, flag);
        }
    }
    let ignored: Vec<&str> = FLAGS
        .iter()
        .filter(|flag| flag.state == State::Ignored)
        .map(|flag| flag.name)
        .collect();
    text.push_str("\nAccepted and ignored:\n");
    push_wrapped(&mut text, &format!("{}.", ignored.join(", ")), "  ");
    text
}

fn push_flag(text: &mut String, flag: &Flag) {
    if flag.is_bare && flag.default == "false" {
        push_line(text, format_args!("  --{}", flag.name));
    } else {
        push_line(text, format_args!("  --{} '{}'", flag.name, flag.default));
    }
    let note = match flag.state {
        State::Works | State::Ignored => "",
        State::Moot | State::Deprecated(_) => " (No effect in Cairn.)",
        State::LaterWarn => " (Not in this build yet: a warning when set.)",
    };
    push_wrapped(text, &format!("{}{note}", flag.help), INDENT);
}

fn push_wrapped(text: &mut String, paragraph: &str, indent: &str) {
    let mut line = indent.to_owned();
    for word in paragraph.split(' ') {
        if line.len() > indent.len() && line.len() + 1 + word.len() > WIDTH {
            push_line(text, format_args!("{line}"));
            line = indent.to_owned();
        }
        if line.len() > indent.len() {
            line.push(' ');
        }
        line.push_str(word);
    }
    push_line(text, format_args!("{line}"));
}

fn push_line(text: &mut String, line: std::fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    let _ = writeln!(text, "{line}");
}
