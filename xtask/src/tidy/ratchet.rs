//! Functions past the limit that are there already: they may shrink, and never grow.
//!
//! `xtask/ratchet.txt` names them with their length, one a line: `LINES PATH FUNCTION`. The file
//! is lowered by `cargo xtask fix` and raised by nobody.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;

use anyhow::{Context, Result};

use super::Finding;
use super::function::functions;
use crate::workspace::{SourceFile, Workspace};

/// The longest function without an entry.
pub(super) const FUNCTION_LINES_MAX: usize = 70;
const FILE: &str = "xtask/ratchet.txt";

/// Path and name of a function; functions of one name in one file share the longest's length.
type Place = (String, String);

/// The functions that are known to be too long.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ratchet {
    allowed: BTreeMap<Place, usize>,
}

impl Ratchet {
    pub(crate) fn load(workspace: &Workspace) -> Result<Self> {
        let path = workspace.root().join(FILE);
        let text = fs::read_to_string(&path).with_context(|| format!("reading {FILE}"))?;
        Self::parse(&text)
    }

    fn parse(text: &str) -> Result<Self> {
        let mut allowed = BTreeMap::new();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let words: Vec<&str> = line.split_whitespace().collect();
            let [lines, path, name] = words.as_slice() else {
                anyhow::bail!("{FILE}: not `LINES PATH FUNCTION`: {line}");
            };
            let lines = lines
                .parse()
                .with_context(|| format!("{FILE}: not a number of lines: {line}"))?;
            allowed.insert(((*path).to_owned(), (*name).to_owned()), lines);
        }
        Ok(Self { allowed })
    }

    /// Functions that are too long, and entries that are too generous.
    pub(crate) fn check(&self, files: &[SourceFile]) -> Vec<Finding> {
        let actual = long_functions(files);
        let mut findings = Vec::new();
        for ((path, name), (line, lines)) in &actual {
            let allowed = self.allowed.get(&(path.clone(), name.clone()));
            let limit = allowed.copied().unwrap_or(FUNCTION_LINES_MAX);
            if *lines > limit {
                findings.push(Finding {
                    path: path.clone(),
                    line: Some(*line),
                    text: format!(
                        "`{name}` has {lines} lines, {limit} are allowed: split it where its \
                         control flow splits"
                    ),
                });
            }
        }
        for ((path, name), allowed) in &self.allowed {
            let now = actual.get(&(path.clone(), name.clone()));
            if now.is_none_or(|(_, lines)| lines < allowed) {
                findings.push(Finding {
                    path: FILE.to_owned(),
                    line: None,
                    text: format!(
                        "`{name}` of {path} is shorter than {allowed} lines now: run `cargo \
                         xtask fix`, which lowers the entry"
                    ),
                });
            }
        }
        findings
    }

    /// Writes what is left of the entries; none is raised or added.
    pub(crate) fn lower(&self, workspace: &Workspace) -> Result<()> {
        let lowered = self.lowered(&workspace.files()?);
        let path = workspace.root().join(FILE);
        if &lowered != self {
            fs::write(&path, lowered.text()).with_context(|| format!("writing {FILE}"))?;
            println!("{FILE}: lowered");
        }
        Ok(())
    }

    fn lowered(&self, files: &[SourceFile]) -> Self {
        let actual = long_functions(files);
        let lower = |(place, allowed): (&Place, &usize)| {
            let (_, lines) = actual.get(place)?;
            Some((place.clone(), *lines.min(allowed)))
        };
        Self {
            allowed: self.allowed.iter().filter_map(lower).collect(),
        }
    }

    fn text(&self) -> String {
        let mut text = format!(
            "# Functions past {FUNCTION_LINES_MAX} lines: LINES PATH FUNCTION. They may shrink, \
             never grow;\n# `cargo xtask fix` lowers what is written here.\n"
        );
        for ((path, name), lines) in &self.allowed {
            let _ = writeln!(text, "{lines} {path} {name}");
        }
        text
    }
}

/// Where functions past the limit stand, and their length.
fn long_functions(files: &[SourceFile]) -> BTreeMap<Place, (usize, usize)> {
    let mut found = BTreeMap::new();
    for file in files.iter().filter(|file| file.is_rust()) {
        for function in functions(&file.text) {
            let place = (file.path.clone(), function.name.to_owned());
            let longest = found
                .get(&place)
                .is_some_and(|(_, lines)| *lines >= function.lines);
            if function.lines > FUNCTION_LINES_MAX && !longest {
                found.insert(place, (function.line, function.lines));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file_with_function_of(lines: usize) -> [SourceFile; 1] {
        let body = "    a();\n".repeat(lines - 2);
        [SourceFile {
            path: "a.rs".to_owned(),
            text: format!("fn long() {{\n{body}}}\n"),
        }]
    }

    #[test]
    fn a_function_at_the_limit_passes_and_one_past_it_fails() {
        let ratchet = Ratchet::default();
        let limit = FUNCTION_LINES_MAX;
        assert_eq!(ratchet.check(&file_with_function_of(limit)), []);
        let findings = ratchet.check(&file_with_function_of(limit + 1));
        assert_eq!(findings.len(), 1);
        assert_eq!(findings[0].line, Some(1));
    }

    #[test]
    fn an_entry_holds_at_its_length_and_must_be_lowered_below() {
        let ratchet = Ratchet::parse("# comment\n80 a.rs long\n").unwrap();
        assert_eq!(ratchet.check(&file_with_function_of(80)), []);
        assert_eq!(ratchet.check(&file_with_function_of(81)).len(), 1);
        let shrunk = file_with_function_of(75);
        assert_eq!(ratchet.check(&shrunk).len(), 1);
        let lowered = ratchet.lowered(&shrunk);
        assert_eq!(lowered.check(&shrunk), []);
        assert_eq!(Ratchet::parse(&lowered.text()).unwrap(), lowered);
    }

    #[test]
    fn lowering_raises_nothing_and_drops_what_is_gone() {
        let ratchet = Ratchet::parse("80 a.rs long\n90 b.rs gone\n").unwrap();
        let lowered = ratchet.lowered(&file_with_function_of(100));
        assert_eq!(lowered, Ratchet::parse("80 a.rs long\n").unwrap());
    }
}
