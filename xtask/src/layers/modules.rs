//! Which module of the server may know which.
//!
//! The server is one crate, so the compiler lets each of its modules use any other. These rules are
//! what crates would be: a module uses what stands below it, and nothing reaches over its head.

use crate::workspace::{SourceFile, Workspace};
use anyhow::Result;

/// Where the modules are.
const ROOT: &str = "server/src/";

/// Each module of the server, and those that it may use.
const MODULES: &[(&str, &[&str])] = &[
    ("settings", &[]),
    ("logging", &["settings"]),
    ("metrics", &["settings"]),
    ("member", &["settings", "logging", "metrics"]),
    ("api", &["settings", "logging", "metrics", "member"]),
    ("net", &["settings", "logging", "metrics", "member", "api"]),
    (
        "start",
        &["settings", "logging", "metrics", "member", "api", "net"],
    ),
    ("gateway", &["settings", "net", "start"]),
    ("grpc_proxy", &["settings", "net", "api", "start"]),
    (
        "commands",
        &[
            "settings",
            "logging",
            "net",
            "start",
            "gateway",
            "grpc_proxy",
        ],
    ),
];

/// Every use of a module that is not below the one that uses it.
pub(super) fn check(workspace: &Workspace, findings: &mut Vec<String>) -> Result<()> {
    for file in workspace.files()?.iter().filter(|file| file.is_rust()) {
        if let Some(path) = file.path.strip_prefix(ROOT) {
            check_file(file, path, findings);
        }
    }
    Ok(())
}

fn check_file(file: &SourceFile, path: &str, findings: &mut Vec<String>) {
    // `lib.rs` and `main.rs` are above all of them.
    let Some((module, below)) = path.split_once('/') else {
        return;
    };
    let Some((_, may_use)) = MODULES.iter().find(|(name, _)| *name == module) else {
        findings.push(format!(
            "server/src/{module} has no place: give it one in xtask/src/layers/modules.rs"
        ));
        return;
    };
    let parts = below.split('/').count();
    let depth = if below.ends_with("mod.rs") {
        parts
    } else {
        parts + 1
    };
    for (number, line) in file.text.lines().enumerate() {
        let code = line.split_once("//").map_or(line, |(code, _)| code);
        let mut used = uses(code).filter(|it| *it != module && !may_use.contains(it));
        if let Some(used) = used.next() {
            findings.push(format!(
                "{}:{}: {module} uses {used}, which is not below it: let data flow the other way, \
                 or move the code",
                file.path,
                number + 1
            ));
        }
        // One step more for a `mod tests` in the file.
        if code.matches("super::").count() > depth {
            findings.push(format!(
                "{}:{}: `super` leads out of {module}: name the way from `crate`",
                file.path,
                number + 1
            ));
        }
    }
}

/// The modules of the crate that a line of code names. A list after `crate::` counts as a name that
/// nobody has, for its names would not be seen.
fn uses(code: &str) -> impl Iterator<Item = &str> {
    code.split("crate::").skip(1).map(|rest| {
        let end = rest.find(|it: char| !it.is_ascii_alphanumeric() && it != '_');
        match rest.split_at(end.unwrap_or(rest.len())) {
            ("", rest) => rest,
            (name, _) => name,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(path: &str, text: &str) -> Vec<String> {
        let file = SourceFile {
            path: format!("{ROOT}{path}"),
            text: text.to_owned(),
        };
        let mut findings = Vec::new();
        check_file(&file, path, &mut findings);
        findings
    }

    #[test]
    fn a_module_uses_what_is_below_it_and_nothing_else() {
        for (path, text) in [
            ("api/grpc/kv.rs", "use crate::member::Member;"),
            ("member/mod.rs", "//! Clients see [`crate::api`]."),
            ("settings/tls.rs", "use super::super::Settings;"),
            ("main.rs", "use crate::start::run;"),
        ] {
            assert!(findings(path, text).is_empty(), "{path}: {text}");
        }
        for (path, text) in [
            ("member/mod.rs", "use crate::api::grpc::Services;"),
            ("member/mod.rs", "fn ask(it: crate::net::peer::Peers) {}"),
            ("settings/url.rs", "pub(crate) use crate::metrics::Metrics;"),
            ("settings/url.rs", "use crate::{member, settings};"),
            ("settings/url.rs", "use super::super::super::member;"),
            ("elsewhere/mod.rs", ""),
        ] {
            assert_eq!(findings(path, text).len(), 1, "{path}: {text}");
        }
    }

    #[test]
    fn no_module_stands_on_itself() {
        for (place, (_, below)) in MODULES.iter().enumerate() {
            let earlier: Vec<_> = MODULES.iter().take(place).map(|(name, _)| name).collect();
            assert!(below.iter().all(|it| earlier.contains(&it)));
        }
    }
}
