//! Flags before a command, put behind it: there, as with cobra, they count together with those
//! that stand there already.

use std::ffi::OsString;

use clap::{Arg, Command};

/// A line with the command's words first.
pub(crate) fn hoist(tree: &Command, line: &[OsString]) -> Vec<OsString> {
    let (mut path, mut flags) = (Vec::new(), Vec::new());
    let mut command = tree;
    let mut rest = line.iter();
    while command.has_subcommands() {
        let Some(word) = rest.next() else { break };
        let text = word.to_string_lossy();
        if text == "--" || text == "--help" || text == "-h" {
            flags.push(word.clone());
            break;
        }
        if !text.starts_with('-') || text == "-" {
            path.push(word.clone());
            match below(command, &text) {
                Some(found) => command = found,
                None => break,
            }
            continue;
        }
        flags.push(word.clone());
        if takes_next(tree, &text) {
            flags.extend(rest.next().cloned());
        }
    }
    path.extend(flags);
    path.extend(rest.cloned());
    path
}

/// A command below another, by its name or a beginning that only it has.
pub(super) fn below<'a>(command: &'a Command, name: &str) -> Option<&'a Command> {
    if let Some(exact) = command.find_subcommand(name) {
        return Some(exact);
    }
    let mut matching = command
        .get_subcommands()
        .filter(|below| !name.is_empty() && below.get_name().starts_with(name));
    match (matching.next(), matching.next()) {
        (found, None) => found,
        _ => None,
    }
}

/// Whether the value of a flag is the next word.
fn takes_next(tree: &Command, word: &str) -> bool {
    let is_meant = |argument: &&Arg| match word.strip_prefix("--") {
        Some(name) => argument.get_long() == Some(name),
        None => {
            let letter = word.get(1..).and_then(|letters| {
                let mut letters = letters.chars();
                // Behind the letter, the value may stand at once.
                letters.next().filter(|_| letters.as_str().is_empty())
            });
            letter.is_some() && argument.get_short() == letter
        }
    };
    let flag = tree.get_arguments().find(is_meant);
    flag.is_some_and(|flag| flag.get_action().takes_values() && !flag.is_require_equals_set())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::tree;

    fn hoisted(line: &str) -> String {
        let words: Vec<OsString> = line.split(' ').map(OsString::from).collect();
        let words = hoist(&tree("etcdctl"), &words);
        let words: Vec<_> = words.iter().map(|word| word.to_string_lossy()).collect();
        words.join(" ")
    }

    #[test]
    fn flags_before_a_command_go_behind_it() {
        for (line, expected) in [
            ("-w json get a --rev 1", "get -w json a --rev 1"),
            (
                "--endpoints a --hex endpoint -wjson status",
                "endpoint status --endpoints a --hex -wjson",
            ),
            ("--hex=false lease list", "lease list --hex=false"),
            ("get --rev 1 a", "get --rev 1 a"),
            ("--bogus get a", "get --bogus a"),
            ("--help get", "--help get"),
            ("nonsense -w", "nonsense -w"),
        ] {
            assert_eq!(hoisted(line), expected);
        }
    }
}
