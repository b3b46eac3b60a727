//! A server's command line: etcd's, or that of anything that takes etcd's flags.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// A server's command line, without the flags for data, addresses and logs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerCommand {
    words: Vec<String>,
    is_tls: bool,
}

impl ServerCommand {
    /// Splits a command line at white space; there is no quoting.
    ///
    /// # Errors
    ///
    /// If it is empty.
    pub fn parse(line: &str) -> Result<Self> {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        if words.is_empty() {
            bail!("an empty command line");
        }
        Ok(Self {
            words,
            is_tls: false,
        })
    }

    /// The same server, whose clients speak TLS or do not.
    #[must_use]
    pub fn with_tls(self, is_tls: bool) -> Self {
        Self { is_tls, ..self }
    }

    /// The same with more flags.
    #[must_use]
    pub fn with_flags(mut self, flags: &[&str]) -> Self {
        self.words.extend(flags.iter().map(|&flag| flag.to_owned()));
        self
    }

    /// Whether its clients speak TLS; a certificate is then made for it.
    #[must_use]
    pub fn is_tls(&self) -> bool {
        self.is_tls
    }

    /// The command line.
    #[must_use]
    pub fn line(&self) -> String {
        self.words.join(" ")
    }

    /// The program's file name.
    #[must_use]
    pub fn program_name(&self) -> String {
        let program = Path::new(self.words.first().map_or("", String::as_str));
        program
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned()
    }

    /// The first line that the program prints when asked for its version.
    #[must_use]
    pub fn version(&self) -> String {
        let program = self.words.first().map_or("", String::as_str);
        let output = Command::new(program)
            .arg("--version")
            .stdin(Stdio::null())
            .output();
        output
            .ok()
            .and_then(|output| {
                let text = String::from_utf8_lossy(&output.stdout).into_owned();
                text.lines().next().map(|line| line.trim().to_owned())
            })
            .unwrap_or_else(|| "unknown version".to_owned())
    }

    /// The program with its arguments, and nothing to read.
    pub(crate) fn command(&self) -> Result<Command> {
        let (program, arguments) = self.words.split_first().context("an empty command line")?;
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::null());
        Ok(command)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_line_is_split_at_white_space() {
        let command = ServerCommand::parse(" etcd  --snapshot-count=5 ").unwrap();
        assert_eq!(command.line(), "etcd --snapshot-count=5");
        assert!(ServerCommand::parse("  ").is_err());
    }
}
