//! Colours, where people see them.

use std::fmt::{self, Display};

use crate::session::stdout_is_terminal;

/// What a colour stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tone {
    Added,
    Removed,
    Changed,
    Key,
    Faint,
}

impl Tone {
    fn code(self) -> &'static str {
        match self {
            Self::Added => "\x1b[32m",
            Self::Removed => "\x1b[31m",
            Self::Changed => "\x1b[33m",
            Self::Key => "\x1b[1m",
            Self::Faint => "\x1b[2m",
        }
    }
}

/// Whether to paint at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Paint(bool);

impl Paint {
    /// On a terminal, unless `NO_COLOR` is set (see no-color.org).
    pub(crate) fn for_stdout() -> Self {
        let is_unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self(stdout_is_terminal() && !is_unwanted)
    }

    #[cfg(test)]
    pub(crate) fn none() -> Self {
        Self(false)
    }

    pub(crate) fn in_tone<T: Display>(self, tone: Tone, what: T) -> Painted<T> {
        Painted {
            tone: self.0.then_some(tone),
            what,
        }
    }
}

/// Something in a colour, or as it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Painted<T> {
    tone: Option<Tone>,
    what: T,
}

impl<T: Display> Display for Painted<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.tone {
            Some(tone) => write!(f, "{}{}\x1b[0m", tone.code(), self.what),
            None => self.what.fmt(f),
        }
    }
}
