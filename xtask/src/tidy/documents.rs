//! Documents that name what the source has: tables and keys, threads, channels without a bound.
//!
//! A table that a document says "nobody" writes, or a thread that it does not know, is worse than no
//! document. What can be found in the source by its form is compared here.

use super::Finding;
use crate::workspace::SourceFile;

const STORAGE: &str = "docs/STORAGE.md";
const ARCHITECTURE: &str = "docs/ARCHITECTURE.md";
const TABLES: &str = "backend/src/table.rs";

/// Crates whose code runs in a member.
const PRODUCT: [&str; 9] = [
    "auth/src/",
    "backend/src/",
    "consensus/src/",
    "index/src/",
    "lease/src/",
    "mvcc/src/",
    "replica/src/",
    "server/src/",
    "watch/src/",
];

/// A name that the source gives, and where.
#[derive(Debug, PartialEq, Eq)]
struct Named {
    path: String,
    line: usize,
    name: String,
}

pub(super) fn check(files: &[SourceFile]) -> Vec<Finding> {
    let document = |path: &str| {
        let found = files.iter().find(|file| file.path == path);
        found.map_or("", |file| file.text.as_str())
    };
    let (storage, architecture) = (document(STORAGE), document(ARCHITECTURE));
    let rules: [(_, _, &str, &str); 4] = [
        (table_names(files), storage, STORAGE, "table"),
        (stored_keys(files), storage, STORAGE, "stored key"),
        (thread_names(files), architecture, ARCHITECTURE, "thread"),
        (
            unbounded_channels(files),
            architecture,
            ARCHITECTURE,
            "channel without a bound in",
        ),
    ];
    let mut findings = Vec::new();
    for (names, text, document, kind) in rules {
        let missing = names
            .into_iter()
            .filter(|named| !text.contains(&format!("`{}", named.name)));
        findings.extend(missing.map(|named| Finding {
            path: named.path,
            line: Some(named.line),
            text: format!("{kind} `{}` is not named in {document}", named.name),
        }));
    }
    findings.extend(unwritten_tables(storage));
    findings
}

/// Says of a table that nothing writes it.
fn unwritten_tables(storage: &str) -> Option<Finding> {
    let place = storage
        .lines()
        .position(|line| line.starts_with('|') && line.contains(concat!("nobody", " yet")))?;
    Some(Finding {
        path: STORAGE.to_owned(),
        line: Some(place + 1),
        text: "says that nobody writes a table: say who does".to_owned(),
    })
}

fn table_names(files: &[SourceFile]) -> Vec<Named> {
    named(files, |file, line| {
        let (_, name) = line.split_once("=> \"").filter(|_| file.path == TABLES)?;
        name.strip_suffix("\",").map(str::to_owned)
    })
}

/// Constants of bytes that are keys, and the names of compaction marks.
fn stored_keys(files: &[SourceFile]) -> Vec<Named> {
    named(files, |_, line| {
        let line = line.trim();
        let is_key = line.contains("_KEY: &[u8] = b\"") || line.starts_with("Self::");
        let (_, name) = line.split_once("b\"").filter(|_| is_key)?;
        let (name, _) = name.split_once('"')?;
        Some(name.to_owned())
    })
}

/// What follows the fixed part of a name, as a number, is left out.
fn thread_names(files: &[SourceFile]) -> Vec<Named> {
    const FORMS: [&str; 4] = [
        ".name(\"",
        ".name(format!(\"",
        " spawn(\"",
        "map(|number| format!(\"",
    ];
    named(files, |_, line| {
        let line = format!(" {}", line.trim());
        let form = FORMS.iter().find(|form| line.contains(**form))?;
        let (_, name) = line.split_once(form)?;
        let (name, _) = name.split_once(['"', '{'])?;
        Some(name.to_owned())
    })
}

fn unbounded_channels(files: &[SourceFile]) -> Vec<Named> {
    const FORMS: [&str; 3] = [
        concat!("unbounded_", "channel("),
        concat!("unbounded_", "channel::<"),
        concat!("unbounded", "()"),
    ];
    named(files, |file, line| {
        FORMS.iter().find(|form| line.contains(**form))?;
        let (_, path) = file.path.split_once("/src/")?;
        Some(path.to_owned())
    })
}

/// What `name` finds in the lines of the product that are not in a test.
fn named(files: &[SourceFile], name: impl Fn(&SourceFile, &str) -> Option<String>) -> Vec<Named> {
    let is_product = |file: &&SourceFile| {
        let path = file.path.as_str();
        let is_test = path.ends_with("/tests.rs") || path.contains("/tests/");
        PRODUCT.iter().any(|root| path.starts_with(root)) && file.is_rust() && !is_test
    };
    let mut found = Vec::new();
    for file in files.iter().filter(is_product) {
        let lines = file.text.lines().enumerate();
        for (at, line) in lines.take_while(|(_, line)| *line != "#[cfg(test)]") {
            found.extend(name(file, line).map(|name| Named {
                path: file.path.clone(),
                line: at + 1,
                name,
            }));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, text: &str) -> SourceFile {
        SourceFile {
            path: path.to_owned(),
            text: text.to_owned(),
        }
    }

    #[test]
    fn tables_keys_threads_and_channels_that_no_document_names_are_found() {
        let files = [
            file(TABLES, "            Self::AuthUsers => \"authUsers\",\n"),
            file(
                "replica/src/a.rs",
                "const DOWN_KEY: &[u8] = b\"downgrade\";\n",
            ),
            file(
                "server/src/start/wiring.rs",
                "spawn(\"apply\", move || run())?,\nbuilder.name(format!(\"bcrypt-{number}\"))\n",
            ),
            file(
                "server/src/member/reply.rs",
                concat!("let x = unbounded_", "channel();\n"),
            ),
        ];
        let found: Vec<_> = check(&files).iter().map(ToString::to_string).collect();
        assert_eq!(
            found,
            [
                "backend/src/table.rs:1: table `authUsers` is not named in docs/STORAGE.md",
                "replica/src/a.rs:1: stored key `downgrade` is not named in docs/STORAGE.md",
                "server/src/start/wiring.rs:1: thread `apply` is not named in docs/ARCHITECTURE.md",
                "server/src/start/wiring.rs:2: thread `bcrypt-` is not named in docs/ARCHITECTURE.md",
                "server/src/member/reply.rs:1: channel without a bound in `member/reply.rs` is not \
                 named in docs/ARCHITECTURE.md",
            ]
        );
        let documents = [
            file(STORAGE, "| `authUsers` | `downgrade` |\n"),
            file(ARCHITECTURE, "`apply` `bcrypt-N` `member/reply.rs`\n"),
        ];
        assert_eq!(check(&[&files[..], &documents].concat()), []);
    }

    #[test]
    fn a_table_that_is_said_to_be_written_by_nobody_is_found() {
        let said = file(STORAGE, concat!("| `auth` | | | nobody", " yet |\n"));
        assert_eq!(check(&[said]).len(), 1);
    }
}
