//! Runs programs that commands are told to run.

use std::ffi::OsString;
use std::fmt;
use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;

use tokio::process::Command;

/// Why a program did not end well, in Go's words.
#[derive(Debug)]
pub(crate) enum ProgramError {
    /// It could not be started.
    NotStarted(OsString, std::io::Error),
    Ended(ExitStatus),
}

impl ProgramError {
    /// What the program ended with; `None` if it did not come to that.
    pub(crate) fn code(&self) -> Option<u8> {
        match self {
            Self::Ended(status) => status.code().and_then(|code| u8::try_from(code).ok()),
            Self::NotStarted(..) => None,
        }
    }
}

impl fmt::Display for ProgramError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotStarted(program, error) if error.kind() == std::io::ErrorKind::NotFound => {
                let program = crate::golang::quote(program.as_encoded_bytes());
                write!(f, "exec: {program}: executable file not found in $PATH")
            }
            Self::NotStarted(program, error) => {
                let reason = crate::session::file_error("fork/exec", program.as_ref(), error);
                f.write_str(&reason)
            }
            Self::Ended(status) => match (status.code(), status.signal()) {
                (Some(code), _) => write!(f, "exit status {code}"),
                (None, Some(signal)) => write!(f, "signal: {signal}"),
                (None, None) => write!(f, "{status}"),
            },
        }
    }
}

/// Runs a program with more variables, our stdout and stderr, and no input.
///
/// # Errors
///
/// It could not be started, or did not end well.
pub(crate) async fn run(
    words: &[OsString],
    variables: &[(&str, String)],
) -> Result<(), ProgramError> {
    let Some((program, arguments)) = words.split_first() else {
        return Ok(());
    };
    let mut command = Command::new(program);
    let variables = variables.iter().map(|(name, value)| (name, value));
    command
        .args(arguments)
        .envs(variables)
        .stdin(std::process::Stdio::null())
        .kill_on_drop(true);
    let status = command.status().await;
    let status = status.map_err(|error| ProgramError::NotStarted(program.clone(), error))?;
    if status.success() {
        Ok(())
    } else {
        Err(ProgramError::Ended(status))
    }
}
