//! The workspace on disk: where it is, its files, and commands run in it.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// What holds no source: build output, git's own, data of servers started here.
fn holds_no_source(name: &str) -> bool {
    name == "target" || name == ".git" || name.ends_with(".etcd")
}

/// The checked-out workspace that this program was built from.
#[derive(Clone, Debug)]
pub(crate) struct Workspace {
    root: PathBuf,
}

impl Workspace {
    pub(crate) fn of_this_build() -> Self {
        let xtask = Path::new(env!("CARGO_MANIFEST_DIR"));
        Self {
            root: xtask.parent().unwrap_or(xtask).to_path_buf(),
        }
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Every text file, by its path from the root, sorted.
    pub(crate) fn files(&self) -> Result<Vec<SourceFile>> {
        let mut found = Vec::new();
        let mut folders = vec![self.root.clone()];
        while let Some(folder) = folders.pop() {
            let entries =
                fs::read_dir(&folder).with_context(|| format!("listing {}", folder.display()))?;
            for entry in entries {
                let entry = entry?;
                let path = entry.path();
                let kind = entry.file_type()?;
                if holds_no_source(&entry.file_name().to_string_lossy()) {
                    continue;
                }
                if kind.is_dir() {
                    folders.push(path);
                } else if kind.is_file() {
                    found.extend(self.source_file(&path)?);
                }
            }
        }
        found.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(found)
    }

    fn source_file(&self, path: &Path) -> Result<Option<SourceFile>> {
        let bytes = fs::read(path).with_context(|| format!("reading {}", path.display()))?;
        let relative = path.strip_prefix(&self.root)?;
        Ok(String::from_utf8(bytes).ok().map(|text| SourceFile {
            path: relative.to_string_lossy().into_owned(),
            text,
        }))
    }

    /// `cargo` with these arguments, in the root.
    pub(crate) fn cargo<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Command {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut command = Command::new(cargo);
        command
            .args(arguments)
            .current_dir(&self.root)
            .stdin(Stdio::null());
        command
    }

    /// Builds the server, and says where its binary is.
    pub(crate) fn build_server(&self) -> Result<PathBuf> {
        Ok(self.build_programs()?.server)
    }

    /// Builds what users run. It is built along with all tests: alone it would have other features
    /// of shared dependencies, and everything would be compiled twice.
    pub(crate) fn build_programs(&self) -> Result<Programs> {
        run(&mut self.cargo("test --quiet --workspace --no-run --locked".split(' ')))?;
        let target = std::env::var_os("CARGO_TARGET_DIR")
            .map_or_else(|| self.root.join("target"), |dir| self.root.join(dir));
        let built = target.join("debug");
        Ok(Programs {
            server: built.join("cairn"),
            ctl: built.join("cairnctl"),
        })
    }
}

/// Where the binaries of the workspace are.
#[derive(Clone, Debug)]
pub(crate) struct Programs {
    pub(crate) server: PathBuf,
    pub(crate) ctl: PathBuf,
}

/// A text file of the workspace.
#[derive(Clone, Debug)]
pub(crate) struct SourceFile {
    /// From the root, with `/`.
    pub(crate) path: String,
    pub(crate) text: String,
}

impl SourceFile {
    pub(crate) fn is_rust(&self) -> bool {
        Path::new(&self.path).extension() == Some(OsStr::new("rs"))
    }
}

/// Runs a command to its end; its output goes where ours goes.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let program = Path::new(command.get_program()).file_name();
    let words: Vec<_> = program
        .into_iter()
        .chain(command.get_args())
        .map(OsStr::to_string_lossy)
        .collect();
    let shown = words.join(" ");
    println!("$ {shown}");
    let status = command
        .status()
        .with_context(|| format!("starting {shown}"))?;
    if !status.success() {
        bail!("{shown}: {status}");
    }
    Ok(())
}
