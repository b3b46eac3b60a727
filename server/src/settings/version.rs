//! The two versions of this product: etcd's API that it serves, and its own.
//!
//! Tools read etcd's version to choose flag names and features, so it is printed where etcd
//! prints it; Cairn's own version stands where etcd prints what it was built from.

/// The etcd release whose interface this server offers.
pub(crate) const ETCD_VERSION: &str = "3.7.1";

/// The cluster version (and storage version) that goes with [`ETCD_VERSION`].
pub(crate) const CLUSTER_VERSION: &str = "3.7.0";

/// Cairn's own version.
pub(crate) const CAIRN_VERSION: &str = env!("CARGO_PKG_VERSION");

/// What `--version` prints: etcd's four lines.
///
/// The second line, etcd's Git SHA, is free text to every tool we know; it names Cairn.
#[must_use]
pub(super) fn version_text() -> String {
    format!(
        "etcd Version: {ETCD_VERSION}\n\
         Git SHA: cairn-{CAIRN_VERSION}\n\
         Go Version: none (Cairn is written in Rust)\n\
         Go OS/Arch: {}/{}\n",
        std::env::consts::OS,
        go_arch(std::env::consts::ARCH),
    )
}

fn go_arch(rust_arch: &str) -> &str {
    match rust_arch {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" => "386",
        "powerpc64" => "ppc64le",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_holds_the_version_that_tools_look_for() {
        let text = version_text();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 4);
        assert_eq!(lines[0], "etcd Version: 3.7.1");
        assert_eq!(lines[1], format!("Git SHA: cairn-{CAIRN_VERSION}"));
        assert!(lines[2].starts_with("Go Version: "));
        assert!(lines[3].starts_with("Go OS/Arch: linux/") || !cfg!(target_os = "linux"));
    }
}
