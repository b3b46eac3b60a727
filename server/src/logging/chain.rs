//! An error and its causes, in one line.

use std::error::Error;
use std::fmt;

use tonic::Status;

/// Shows an error, then what caused it, and so on, down to what the system said.
///
/// A cause that the text before it already ends with is not repeated: some errors show their cause
/// themselves.
pub(crate) struct Chain<'a>(pub(crate) &'a (dyn Error + 'static));

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = text_of(self.0);
        f.write_str(&shown)?;
        let mut next = self.0.source();
        while let Some(cause) = next {
            let text = text_of(cause);
            if !shown.ends_with(&text) {
                write!(f, ": {text}")?;
            }
            shown = text;
            next = cause.source();
        }
        Ok(())
    }
}

/// What an error says of itself. A status says by itself how its cause is written in Rust.
fn text_of(error: &(dyn Error + 'static)) -> String {
    match error.downcast_ref::<Status>() {
        Some(status) if status.message().is_empty() => status.code().description().to_owned(),
        Some(status) => status.message().to_owned(),
        None => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::path::PathBuf;
    use std::sync::Arc;

    use cairn_backend::{
        CheckError, CommitError, DefragmentError, InstallError, OpenError, Poisoned, ReceiveError,
        Uncommitted,
    };
    use cairn_consensus::NodeError;
    use cairn_consensus::wal::WalError;
    use cairn_mvcc::WriteError;

    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("cannot write {file}")]
    struct Outer {
        file: &'static str,
        #[source]
        source: io::Error,
    }

    #[derive(Debug, thiserror::Error)]
    #[error(transparent)]
    struct Through(Outer);

    fn full_disk() -> Outer {
        Outer {
            file: "/data/db",
            source: io::Error::from_raw_os_error(28),
        }
    }

    #[test]
    fn an_error_is_shown_with_what_the_system_said() {
        let expected = "cannot write /data/db: No space left on device (os error 28)";
        assert_eq!(Chain(&full_disk()).to_string(), expected);
        assert_eq!(Chain(&Through(full_disk())).to_string(), expected);
    }

    #[test]
    fn a_cause_that_is_shown_already_is_not_repeated() {
        #[derive(Debug, thiserror::Error)]
        #[error("cannot start: {0}")]
        struct Told(#[source] io::Error);

        let told = Told(io::Error::from_raw_os_error(28));
        assert_eq!(
            Chain(&told).to_string(),
            "cannot start: No space left on device (os error 28)"
        );
    }

    fn path() -> PathBuf {
        PathBuf::from("/data/db")
    }

    fn full() -> io::Error {
        io::Error::from_raw_os_error(28)
    }

    fn open() -> OpenError {
        OpenError::Io {
            path: path(),
            source: full(),
        }
    }

    fn commit() -> CommitError {
        CommitError::Lmdb {
            path: path(),
            source: full().into(),
        }
    }

    fn swap() -> CommitError {
        CommitError::Swap {
            path: path(),
            source: full(),
        }
    }

    fn poisoned() -> Poisoned {
        Poisoned {
            cause: Arc::new(commit()),
        }
    }

    fn waiting() -> Uncommitted {
        Uncommitted::NoSpace {
            cause: Arc::new(CommitError::NoSpace {
                path: path(),
                available_bytes: 7,
                source: full(),
            }),
        }
    }

    fn wal() -> WalError {
        WalError::Io {
            action: "sync",
            file: "/data/db".to_owned(),
            source: full(),
        }
    }

    fn errors_of_files() -> Vec<Box<dyn Error>> {
        vec![
            Box::new(open()),
            Box::new(OpenError::Lmdb {
                path: path(),
                source: full().into(),
            }),
            Box::new(InstallError::Rename {
                path: path(),
                source: full(),
            }),
            Box::new(DefragmentError::Rename {
                path: path(),
                source: full(),
            }),
            Box::new(CheckError::Io {
                path: path(),
                source: full(),
            }),
            Box::new(commit()),
            Box::new(CommitError::Grow {
                path: path(),
                bytes: 7,
                source: full().into(),
            }),
            Box::new(swap()),
            Box::new(wal()),
        ]
    }

    fn errors_of_others() -> Vec<Box<dyn Error>> {
        vec![
            Box::new(poisoned()),
            Box::new(waiting()),
            Box::new(ReceiveError::Open(open())),
            Box::new(ReceiveError::Write(commit())),
            Box::new(InstallError::Poisoned(poisoned())),
            Box::new(InstallError::Open(open())),
            Box::new(InstallError::Swap(swap())),
            Box::new(DefragmentError::Poisoned(poisoned())),
            Box::new(DefragmentError::Open(open())),
            Box::new(DefragmentError::Write(commit())),
            Box::new(DefragmentError::Swap(swap())),
            Box::new(WriteError::Poisoned(poisoned())),
            Box::new(NodeError::Wal(wal())),
        ]
    }

    /// Those of other crates, and of this one, that say themselves what the system said.
    fn errors_that_show_their_cause() -> Vec<Box<dyn Error>> {
        vec![
            Box::new(cairn_migrate::Error::Io {
                path: path(),
                source: full(),
            }),
            Box::new(crate::logging::LogError::Open {
                path: path(),
                source: full(),
            }),
            Box::new(crate::settings::SettingsError::FileUnreadable {
                path: "/data/db".to_owned(),
                source: full(),
            }),
        ]
    }

    /// The types of errors in a file that hold what the system said.
    fn types_with_causes(text: &str) -> Vec<String> {
        let mut named = None;
        let mut found = Vec::new();
        for line in text.lines().take_while(|line| *line != "#[cfg(test)]") {
            if line.starts_with('}') {
                named = None;
            }
            let words: Vec<_> = line.split_whitespace().collect();
            if let Some(at) = words
                .iter()
                .position(|word| ["enum", "struct"].contains(word))
            {
                let name = words.get(at + 1).copied().unwrap_or_default();
                named = Some(
                    name.trim_matches(|it: char| !it.is_alphanumeric())
                        .to_owned(),
                );
            }
            let holds = [
                "source: io::Error",
                "source: std::io::Error",
                "(#[source] io::Error",
                "Broken(io::Error",
            ];
            if holds.iter().any(|it| line.contains(it))
                && !line.contains("fn ")
                && !line.contains("|")
            {
                found.extend(named.clone());
            }
        }
        found
    }

    /// Whoever adds an error that carries one of the system's shows it here too.
    #[test]
    fn every_error_that_carries_one_of_the_systems_is_among_these() {
        const SEEN: [&str; 15] = [
            // Here.
            "CheckError",
            "CommitError",
            "DefragmentError",
            "Error",
            "InstallError",
            "LogError",
            "OpenError",
            "SettingsError",
            "WalError",
            // With the path of a log's directory, or of no file.
            "IncarnationsError",
            "RestoreError",
            // They show it in their own text.
            "BoltError",
            "SnapError",
            "JwtKeyError",
            "TlsError",
        ];
        const OF_CONNECTIONS: [&str; 2] = ["ConnectionError", "HandshakeError"];

        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
            .parent()
            .unwrap();
        let crates = [
            "auth",
            "backend",
            "consensus",
            "etcd-file",
            "index",
            "lease",
            "migrate",
            "mvcc",
            "replica",
            "server",
            "v2",
            "watch",
        ];
        let mut directories: Vec<_> = crates.iter().map(|it| root.join(it).join("src")).collect();
        let mut found = std::collections::BTreeSet::new();
        while let Some(directory) = directories.pop() {
            for entry in std::fs::read_dir(directory).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    directories.push(path);
                } else if path.extension().is_some_and(|it| it == "rs") {
                    found.extend(types_with_causes(&std::fs::read_to_string(path).unwrap()));
                }
            }
        }
        let known: std::collections::BTreeSet<_> = SEEN
            .iter()
            .chain(&OF_CONNECTIONS)
            .map(|&it| it.to_owned())
            .collect();
        assert_eq!(found, known);
    }

    #[test]
    fn storage_errors_show_the_file_and_what_the_system_said() {
        let all = errors_of_files().into_iter().chain(errors_of_others());
        for error in all.chain(errors_that_show_their_cause()) {
            let shown = Chain(&*error).to_string();
            assert!(shown.contains("/data/db"), "{shown}");
            let said = "No space left on device (os error 28)";
            assert!(shown.contains(said), "{shown}");
        }
    }
}
