//! Asks people for passwords.

use std::io::{self, BufRead as _, Write as _};

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

use crate::failure::Failure;

/// Turns a terminal's echo off for as long as it lives; without a terminal it does nothing.
struct Silence(Option<Termios>);

impl Silence {
    fn begin() -> Self {
        let Ok(before) = tcgetattr(io::stdin()) else {
            return Self(None);
        };
        let mut silent = before.clone();
        silent.local_modes.remove(LocalModes::ECHO);
        let silenced = tcsetattr(io::stdin(), OptionalActions::Now, &silent);
        Self(silenced.is_ok().then_some(before))
    }
}

impl Drop for Silence {
    fn drop(&mut self) {
        if let Some(before) = &self.0 {
            // There is nobody to tell if the terminal is gone.
            let _ = tcsetattr(io::stdin(), OptionalActions::Now, before);
        }
    }
}

/// Asks for a password, which is not shown while it is typed; a script may give it by standard
/// input.
///
/// # Errors
///
/// Standard input cannot be read.
pub(crate) fn password(question: &str) -> io::Result<String> {
    let mut stdout = io::stdout();
    stdout.write_all(question.as_bytes())?;
    stdout.flush()?;
    let silence = Silence::begin();
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line)?;
    drop(silence);
    stdout.write_all(b"\n")?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

/// Asks for a new password twice.
///
/// # Errors
///
/// It is empty, or was not the same the second time.
pub(crate) fn new_password(user: &str) -> Result<String, Failure> {
    let ask = |question: String| {
        let asked = password(&question);
        asked.map_err(|error| Failure::arguments(format!("failed to ask password: {error}")))
    };
    let first = ask(format!("Password of {user}: "))?;
    if first.is_empty() {
        return Err(Failure::arguments("empty password"));
    }
    let again = ask(format!("Type password of {user} again for confirmation: "))?;
    if first != again {
        return Err(Failure::arguments("given passwords are different"));
    }
    Ok(first)
}

/// The first word of standard input.
///
/// # Errors
///
/// Standard input cannot be read.
pub(crate) fn word() -> io::Result<String> {
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line)?;
    let word = line.split_whitespace().next().unwrap_or_default();
    Ok(word.to_owned())
}
