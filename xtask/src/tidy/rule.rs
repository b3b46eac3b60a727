//! Rules that look at one file.

use std::path::Path;

use super::Finding;
use crate::workspace::SourceFile;

/// The longest source file.
const FILE_LINES_MAX: usize = 800;

/// Names that say nothing about what is inside.
const EMPTY_NAMES: [&str; 7] = [
    "utils", "util", "common", "helpers", "helper", "misc", "types",
];

/// Text that no Rust file holds, and why. Split, so that this file does not hold it either.
const FORBIDDEN: [(&str, &str); 6] = [
    (concat!("to", "do!"), "finish it, or leave it out"),
    (concat!("unimpl", "emented!"), "finish it, or leave it out"),
    (
        concat!("#[ig", "nore"),
        "a test that does not run proves nothing: run it or delete it",
    ),
    (
        concat!("should_", "panic"),
        "assert on a returned error instead",
    ),
    (concat!("TO", "DO"), "do it now, or write an issue"),
    (concat!("FIX", "ME"), "do it now, or write an issue"),
];

/// Beginnings of paths that exist on one machine only.
const MACHINE_PATHS: [&str; 3] = [
    concat!("/wo", "rk/"),
    concat!("/ro", "ot/"),
    concat!("/tmp/", "cairn"),
];

/// A wait that nothing ends early.
const SLEEP: &str = "thread::sleep";

pub(super) fn check(file: &SourceFile, findings: &mut Vec<Finding>) {
    let mut found = |line: Option<usize>, text: String| {
        findings.push(Finding {
            path: file.path.clone(),
            line,
            text,
        });
    };
    for (at, line) in numbered(&file.text) {
        if let Some(path) = MACHINE_PATHS.iter().find(|path| line.contains(**path)) {
            found(
                Some(at),
                format!("`{path}` is a path of one machine: name no such path"),
            );
        }
    }
    if !file.is_rust() {
        return;
    }
    if !file.text.starts_with("//!") {
        let text = "begins without `//!`: say what the file is for and what is not here";
        found(None, text.to_owned());
    }
    let lines = file.text.lines().count();
    if lines > FILE_LINES_MAX {
        let text = format!("has {lines} lines, {FILE_LINES_MAX} are allowed: one noun a file");
        found(None, text);
    }
    if let Some(name) = empty_name(&file.path) {
        let text = format!("`{name}` names no noun: move each item to the type it belongs to");
        found(None, text);
    }
    for (at, line) in numbered(&file.text) {
        if line.contains(SLEEP) && file.path.starts_with("server/src/member/") {
            let text = "a thread of a member waits where a stop can wake it: on a channel, with a time-out";
            found(Some(at), text.to_owned());
        }
        for (word, advice) in FORBIDDEN {
            if line.contains(word) {
                found(Some(at), format!("`{word}`: {advice}"));
            }
        }
    }
}

fn numbered(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines().enumerate().map(|(at, line)| (at + 1, line))
}

fn empty_name(path: &str) -> Option<&str> {
    let path = Path::new(path);
    let folders = path.parent()?.iter();
    folders
        .chain(path.file_stem())
        .filter_map(|name| name.to_str())
        .find(|name| EMPTY_NAMES.contains(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(path: &str, text: &str) -> Vec<String> {
        let file = SourceFile {
            path: path.to_owned(),
            text: text.to_owned(),
        };
        let mut findings = Vec::new();
        check(&file, &mut findings);
        findings.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_file_without_module_doc_is_found() {
        assert_eq!(findings("a.rs", "//! A noun.\n"), Vec::<String>::new());
        assert!(findings("a.rs", "fn a() {}\n")[0].starts_with("a.rs: begins without"));
        assert_eq!(findings("a.md", "fn a() {}\n"), Vec::<String>::new());
    }

    #[test]
    fn a_sleep_in_a_thread_of_a_member_is_found() {
        let text = "//! A noun.\nstd::thread::sleep(rest);\n";
        assert_eq!(findings("server/src/member/a.rs", text).len(), 1);
        assert!(findings("server/tests/it/a.rs", text).is_empty());
    }

    #[test]
    fn names_that_say_nothing_are_found_in_folders_and_files() {
        assert_eq!(empty_name("a/src/utils.rs"), Some("utils"));
        assert_eq!(empty_name("a/src/types/revision.rs"), Some("types"));
        assert_eq!(empty_name("a/src/typestate.rs"), None);
    }

    #[test]
    fn forbidden_text_is_found_with_its_line() {
        for (word, _) in FORBIDDEN {
            let found = findings("a.rs", &format!("//! A noun.\n\n{word}()\n"));
            assert!(found[0].starts_with("a.rs:3: "), "{found:?}");
        }
    }

    #[test]
    fn machine_paths_are_found_in_any_text_file() {
        for path in MACHINE_PATHS {
            let found = findings("notes.md", &format!("see {path}x\n"));
            assert!(found[0].starts_with("notes.md:1: "), "{found:?}");
        }
    }

    #[test]
    fn a_file_may_have_the_limit_of_lines_and_no_more() {
        let text = "//! A noun.\n".repeat(FILE_LINES_MAX);
        assert_eq!(findings("a.rs", &text).len(), 0);
        assert_eq!(findings("a.rs", &format!("{text}\n")).len(), 1);
    }
}
