//! Which crate may know which, which module of the server, and under which licences others' crates come.
//!
//! Dependencies run downwards only, as `docs/ARCHITECTURE.md` draws them. The rules of the store
//! take time, chance and effects as arguments, so their crates reach no runtime and no network.

mod modules;

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use anyhow::{Context, Result};
use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, Package, PackageId};

use crate::workspace::Workspace;

/// Each crate, and those of ours that it may depend on. Tests may also use what these stand on.
const LAYERS: &[(&str, &[&str])] = &[
    ("cairn-proto", &[]),
    ("cairn-backend", &[]),
    ("cairn-etcd-file", &[]),
    ("cairn-index", &[]),
    ("raft-proto", &[]),
    (
        "cairn-mvcc",
        &["cairn-backend", "cairn-index", "cairn-proto"],
    ),
    ("cairn-watch", &["cairn-mvcc", "cairn-index", "cairn-proto"]),
    (
        "cairn-auth",
        &["cairn-backend", "cairn-index", "cairn-proto"],
    ),
    ("cairn-lease", &["cairn-mvcc", "cairn-backend"]),
    ("cairn-v2", &["cairn-mvcc"]),
    ("cairn-consensus", &["cairn-proto", "raft-proto"]),
    (
        "cairn-replica",
        &[
            "cairn-proto",
            "cairn-backend",
            "cairn-index",
            "cairn-mvcc",
            "cairn-lease",
            "cairn-v2",
            "cairn-auth",
            "cairn-consensus",
        ],
    ),
    (
        "cairn-migrate",
        &[
            "cairn-etcd-file",
            "cairn-proto",
            "cairn-backend",
            "cairn-mvcc",
            "cairn-replica",
            "cairn-consensus",
        ],
    ),
    (
        "cairn-backup",
        &[
            "cairn-backend",
            "cairn-consensus",
            "cairn-lease",
            "cairn-migrate",
            "cairn-mvcc",
            "cairn-replica",
        ],
    ),
    ("cairn-object-store", &["cairn-backup"]),
    (
        "cairn-server",
        &[
            "cairn-backup",
            "cairn-object-store",
            "cairn-migrate",
            "cairn-client",
            "cairn-proxy",
            "cairn-replica",
            "cairn-proto",
            "cairn-backend",
            "cairn-index",
            "cairn-mvcc",
            "cairn-watch",
            "cairn-lease",
            "cairn-v2",
            "cairn-auth",
            "cairn-consensus",
        ],
    ),
    ("cairn-client", &["cairn-proto"]),
    ("cairn-proxy", &["cairn-client", "cairn-proto"]),
    ("cairn-ctl", &["cairn-client", "cairn-proto"]),
    ("cairn-embed", &["cairn-client", "cairn-server"]),
    ("cairn-history", &["cairn-proto"]),
    (
        "cairn-sim",
        &[
            "cairn-history",
            "cairn-replica",
            "cairn-proto",
            "cairn-backend",
            "cairn-index",
            "cairn-mvcc",
            "cairn-watch",
            "cairn-lease",
            "cairn-v2",
            "cairn-auth",
            "cairn-consensus",
        ],
    ),
    ("cairn-testbed", &[]),
    ("cairn-bench", &["cairn-proto", "cairn-testbed"]),
    (
        "xtask",
        &[
            "cairn-proto",
            "cairn-bench",
            "cairn-client",
            "cairn-history",
            "cairn-testbed",
        ],
    ),
];

/// What the tests of every crate may use: ports, and a server within the test.
const FOR_TESTS: [&str; 2] = ["cairn-testbed", "cairn-embed"];

/// Crates of ours that hold rules alone.
const CORE: &[&str] = &[
    "cairn-auth",
    "cairn-history",
    "cairn-index",
    "cairn-lease",
    "cairn-mvcc",
    "cairn-replica",
    "cairn-v2",
    "cairn-watch",
];

/// What no core crate may reach: runtimes, network, clocks with a thread behind them.
const EFFECTS: [&str; 14] = [
    "async-std",
    "axum",
    "h2",
    "hyper",
    "mio",
    "polling",
    "quinn",
    "reqwest",
    "rustls",
    "signal-hook",
    "smol",
    "socket2",
    "tokio",
    "tonic",
];

/// Where the search for effects stops: the wire types carry their gRPC clients with them, which
/// no core crate calls.
const WIRE: &str = "cairn-proto";

/// Licences that crates in use come under.
const LICENCES: [&str; 8] = [
    "Apache-2.0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "ISC",
    "MIT",
    // imbl: file by file, so it does not reach our own files.
    "MPL-2.0+",
    "Unicode-3.0",
    "Zlib",
];

/// Everything that is not as the layers say.
pub(crate) fn check(workspace: &Workspace) -> Result<Vec<String>> {
    let metadata = MetadataCommand::new()
        .manifest_path(workspace.root().join("Cargo.toml"))
        .other_options(vec![
            "--locked".to_owned(),
            "--filter-platform".to_owned(),
            host_platform()?,
        ])
        .exec()
        .context("reading `cargo metadata`")?;
    let mut findings = Vec::new();
    for package in metadata.workspace_packages() {
        check_edges(package, &mut findings);
    }
    let graph = Graph::new(&metadata)?;
    for name in CORE {
        graph.check_effects(name, &mut findings);
    }
    check_licences(&metadata, &mut findings);
    modules::check(workspace, &mut findings)?;
    Ok(findings)
}

fn host_platform() -> Result<String> {
    let output = Command::new("rustc")
        .arg("-vV")
        .output()
        .context("starting rustc")?;
    let text = String::from_utf8(output.stdout)?;
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.context("rustc -vV names no host")?.to_owned())
}

fn allowed(name: &str) -> Option<&'static [&'static str]> {
    let (_, below) = LAYERS.iter().find(|(crate_name, _)| *crate_name == name)?;
    Some(below)
}

/// The crates below a crate, however far.
fn reachable(name: &str) -> BTreeSet<&'static str> {
    let mut found = BTreeSet::new();
    let mut open: Vec<&str> = allowed(name).unwrap_or_default().to_vec();
    while let Some(below) = open.pop() {
        if let Some((known, further)) = LAYERS.iter().find(|(crate_name, _)| *crate_name == below)
            && found.insert(*known)
        {
            open.extend(*further);
        }
    }
    found
}

fn check_edges(package: &Package, findings: &mut Vec<String>) {
    let name = package.name.as_str();
    let Some(below) = allowed(name) else {
        findings.push(format!(
            "{name} has no layer: give it one in xtask/src/layers.rs"
        ));
        return;
    };
    let tests_may = reachable(name);
    for dependency in package.dependencies.iter().filter(|it| it.path.is_some()) {
        let other = dependency.name.as_str();
        let fine = match dependency.kind {
            DependencyKind::Development => {
                other == name || FOR_TESTS.contains(&other) || tests_may.contains(other)
            }
            _ => below.contains(&other),
        };
        if !fine {
            findings.push(format!(
                "{name} depends on {other}, which is not below it: let data flow the other way, \
                 or move the code"
            ));
        }
    }
}

/// Who depends on whom in a build, tests and build scripts left out.
struct Graph<'a> {
    names: BTreeMap<&'a PackageId, &'a str>,
    below: BTreeMap<&'a PackageId, Vec<&'a PackageId>>,
}

impl<'a> Graph<'a> {
    fn new(metadata: &'a Metadata) -> Result<Self> {
        let resolve = metadata
            .resolve
            .as_ref()
            .context("cargo metadata without a graph")?;
        let names = metadata
            .packages
            .iter()
            .map(|it| (&it.id, it.name.as_str()))
            .collect();
        let normal = |node: &'a cargo_metadata::Node| {
            let below = node.deps.iter().filter(|dep| {
                dep.dep_kinds
                    .iter()
                    .any(|kind| kind.kind == DependencyKind::Normal)
            });
            (&node.id, below.map(|dep| &dep.pkg).collect())
        };
        Ok(Self {
            names,
            below: resolve.nodes.iter().map(normal).collect(),
        })
    }

    fn name(&self, id: &PackageId) -> &'a str {
        self.names.get(id).copied().unwrap_or_default()
    }

    /// Finds effects below a core crate, with the way that leads there.
    fn check_effects(&self, core: &str, findings: &mut Vec<String>) {
        let Some(start) = self.names.keys().find(|id| self.name(id) == core) else {
            return;
        };
        let mut seen = BTreeSet::new();
        let mut open = vec![vec![*start]];
        while let Some(way) = open.pop() {
            let Some(last) = way.last() else { continue };
            for below in self.below.get(last).into_iter().flatten() {
                let name = self.name(below);
                if name == WIRE || !seen.insert(*below) {
                    continue;
                }
                let mut further = way.clone();
                further.push(below);
                if EFFECTS.contains(&name) {
                    let names: Vec<&str> = further.iter().map(|id| self.name(id)).collect();
                    findings.push(format!(
                        "{core} reaches {name} ({}): effects belong to the server",
                        names.join(" → ")
                    ));
                } else {
                    open.push(further);
                }
            }
        }
    }
}

fn check_licences(metadata: &Metadata, findings: &mut Vec<String>) {
    let used: BTreeSet<&PackageId> = metadata
        .resolve
        .iter()
        .flat_map(|resolve| resolve.nodes.iter().map(|node| &node.id))
        .collect();
    for package in metadata.packages.iter().filter(|it| used.contains(&it.id)) {
        let licence = package.license.as_deref().unwrap_or("none stated");
        if !may_be_used(licence) {
            findings.push(format!(
                "{} {} comes under `{licence}`: read it, then allow it in xtask/src/layers.rs or \
                 do without the crate",
                package.name, package.version
            ));
        }
    }
}

/// Of each part that must be kept, one choice must be allowed.
fn may_be_used(licence: &str) -> bool {
    licence.split(" AND ").all(|part| {
        let choices = part.trim_matches(['(', ')']).replace('/', " OR ");
        choices
            .split(" OR ")
            .any(|choice| LICENCES.contains(&choice.trim()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_workspace_keeps_to_its_layers() {
        let findings = check(&Workspace::of_this_build()).unwrap();
        assert!(findings.is_empty(), "\n{}\n", findings.join("\n"));
    }

    #[test]
    fn of_licences_one_choice_of_each_part_must_be_allowed() {
        for licence in ["MIT", "Unlicense/MIT", "(MIT OR GPL-2.0) AND Unicode-3.0"] {
            assert!(may_be_used(licence), "{licence}");
        }
        for licence in [
            "none stated",
            "GPL-3.0",
            "MIT AND GPL-2.0",
            "Apache-2.0 WITH X",
        ] {
            assert!(!may_be_used(licence), "{licence}");
        }
    }

    #[test]
    fn no_layer_stands_on_itself() {
        for (name, below) in LAYERS {
            assert!(!reachable(name).contains(name), "{name}");
            for other in *below {
                assert!(
                    allowed(other).is_some(),
                    "{name} stands on {other}, which has no layer"
                );
            }
        }
    }
}
