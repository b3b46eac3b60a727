//! Commands for the data of members that do not run: etcdutl's, and more. The server's program has them,
//! since they read and write what it keeps; this one hands the line over to it.

use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::Command;

use crate::failure::Failure;

/// The server's program.
const SERVER: &str = "cairn";
/// Where it is, if it is neither beside this program nor on the path.
const SERVER_VARIABLE: &str = "CAIRN_SERVER";

/// A command for data at rest.
pub(crate) struct AtRest {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    /// Without `--data-dir` it is a command for members that run.
    needs_data_dir: bool,
}

const fn at_rest(name: &'static str, about: &'static str) -> AtRest {
    AtRest {
        name,
        about,
        needs_data_dir: false,
    }
}

const fn at_data_dir(name: &'static str, about: &'static str) -> AtRest {
    AtRest {
        name,
        about,
        needs_data_dir: true,
    }
}

/// All of them.
pub(crate) const COMMANDS: [AtRest; 8] = [
    at_rest("snapshot status", "Says what is in a snapshot's file"),
    at_rest("snapshot restore", "Makes a data directory of a snapshot"),
    at_rest(
        "backup",
        "Lists and verifies continuous backups, and restores from them",
    ),
    at_rest("hashkv", "The hash of a database file's keys"),
    at_rest("migrate", "Makes an etcd data directory Cairn's, and back"),
    at_rest("rebuild", "Gives a stopped member a new database"),
    at_data_dir(
        "check",
        "With --data-dir: says what is wrong in a stopped member's data",
    ),
    at_data_dir(
        "defrag",
        "With --data-dir: makes a stopped member's database small",
    ),
];

impl AtRest {
    fn is_named_by(&self, line: &[OsString]) -> bool {
        let mut words = line.iter().filter_map(|word| word.to_str());
        let mut name = self.name.split(' ');
        name.all(|part| words.next() == Some(part))
            && (!self.needs_data_dir
                || words.any(|word| word == "--data-dir" || word.starts_with("--data-dir=")))
    }
}

/// Whether a line is about data at rest.
fn is_at_rest(line: &[OsString]) -> bool {
    COMMANDS.iter().any(|command| command.is_named_by(line))
}

/// Runs a line about data at rest in place of this program; comes back if it is about something else.
///
/// # Errors
///
/// If the server's program is not to be found.
pub(crate) fn run(line: &[OsString]) -> Result<(), Failure> {
    if !is_at_rest(line) {
        return Ok(());
    }
    let named = std::env::var_os(SERVER_VARIABLE).map(PathBuf::from);
    let beside = std::env::current_exe().ok().and_then(|own| {
        let beside = own.canonicalize().ok()?.with_file_name(SERVER);
        beside.is_file().then_some(beside)
    });
    let server = named.or(beside).unwrap_or_else(|| SERVER.into());
    let error = Command::new(&server).args(line).exec();
    let command = line.first().map(OsString::as_os_str).unwrap_or_default();
    Err(Failure::error(format!(
        "`{}` is a command of the server's program, and {} cannot be run ({error}): put `{SERVER}` beside this \
         program or on the path, or set {SERVER_VARIABLE}",
        command.display(),
        server.display()
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_about_members_that_run_are_not_handed_over() {
        let is = |line: &str| is_at_rest(&line.split(' ').map(Into::into).collect::<Vec<_>>());
        for line in [
            "snapshot restore a.db --data-dir d",
            "snapshot status a.db",
            "backup ls --url file:///b",
            "hashkv a.db",
            "migrate --data-dir d",
            "rebuild --data-dir d",
            "check --data-dir d",
            "defrag --data-dir=d",
        ] {
            assert!(is(line), "{line}");
        }
        for line in [
            "snapshot save a.db",
            "check perf",
            "check datascale --load s",
            "defrag",
            "defrag --cluster",
            "get backup",
        ] {
            assert!(!is(line), "{line}");
        }
    }
}
