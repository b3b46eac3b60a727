//! Rules about source text that no lint checks.
//!
//! Each rule says where it is broken and what to do. The tests below run all of them over the
//! workspace, so `cargo test` fails where `cargo xtask verify` would.

mod documents;
mod function;
mod ratchet;
mod rule;

use std::fmt;

use anyhow::Result;

pub(crate) use self::ratchet::Ratchet;
use crate::workspace::Workspace;

/// A place that breaks a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    /// From the root.
    pub(crate) path: String,
    /// Counted from 1; the whole file has none.
    pub(crate) line: Option<usize>,
    /// What is wrong and what to do.
    pub(crate) text: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "{}:{line}: {}", self.path, self.text),
            None => write!(f, "{}: {}", self.path, self.text),
        }
    }
}

/// Everything that is untidy.
pub(crate) fn check(workspace: &Workspace) -> Result<Vec<Finding>> {
    let files = workspace.files()?;
    let ratchet = Ratchet::load(workspace)?;
    let mut findings = Vec::new();
    for file in &files {
        rule::check(file, &mut findings);
    }
    findings.extend(documents::check(&files));
    findings.extend(ratchet.check(&files));
    Ok(findings)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_workspace_is_tidy() {
        let findings = check(&Workspace::of_this_build()).unwrap();
        let shown: Vec<String> = findings.iter().map(ToString::to_string).collect();
        assert!(shown.is_empty(), "\n{}\n", shown.join("\n"));
    }
}
