//! How a command ends when it does not end well: what stderr says, and the exit code.

use std::fmt;

/// What an exit code means; the numbers are etcdctl's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// The command was tried and failed.
    Error,
    /// There is no connection, or it is not let in.
    BadConnection,
    /// Standard input makes no sense.
    InvalidInput,
    /// A flag has a value that it cannot have, or the format is not for this answer.
    BadFeature,
    /// It broke off.
    Interrupted,
    /// Arguments are wrong.
    BadArguments,
    /// What the program that was run ended with.
    Program(u8),
}

impl Exit {
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Error => 1,
            Self::BadConnection => 2,
            Self::InvalidInput => 3,
            Self::BadFeature => 4,
            Self::Interrupted => 5,
            Self::BadArguments => 128,
            Self::Program(code) => code,
        }
    }
}

/// Why a command ends early.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) exit: Exit,
    /// For stderr, behind `Error: `; nothing if all has been said.
    pub(crate) message: String,
    /// What is behind the message, for people.
    pub(crate) detail: String,
    /// What stands below the message whoever reads it.
    pub(crate) usage: String,
}

impl Failure {
    pub(crate) fn new(exit: Exit, message: impl fmt::Display) -> Self {
        Self {
            exit,
            message: message.to_string(),
            detail: String::new(),
            usage: String::new(),
        }
    }

    pub(crate) fn error(message: impl fmt::Display) -> Self {
        Self::new(Exit::Error, message)
    }

    pub(crate) fn arguments(message: impl fmt::Display) -> Self {
        Self::new(Exit::BadArguments, message)
    }

    pub(crate) fn feature(message: impl fmt::Display) -> Self {
        Self::new(Exit::BadFeature, message)
    }

    pub(crate) fn input(message: impl fmt::Display) -> Self {
        Self::new(Exit::InvalidInput, message)
    }

    /// A failure that stderr has been told of already.
    pub(crate) fn told() -> Self {
        Self::new(Exit::Error, "")
    }

    /// All that stderr is told; a person is also told what can be done.
    pub(crate) fn text(&self, to_person: bool) -> String {
        let mut text = String::new();
        if !self.message.is_empty() {
            text = format!("Error: {}\n", self.message);
        }
        if to_person && !self.detail.is_empty() {
            text.push_str(&format!("  ({})\n", self.detail));
        }
        if to_person && let Some(advice) = advice(&self.message) {
            text.push_str(&format!("  {advice}\n"));
        }
        text + &self.usage
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::error(error)
    }
}

/// Parts of messages, and what whoever reads them can do.
const ADVICE: &[(&str, &str)] = &[
    (
        "context deadline exceeded",
        "No endpoint answered in time: check --endpoints (and whether it needs https:// and --cacert), \
         or give more --command-timeout.",
    ),
    (
        "no available endpoints",
        "Name the members with --endpoints or ETCDCTL_ENDPOINTS.",
    ),
    (
        "required revision has been compacted",
        "That revision is gone; read without --rev, or from a newer one (`endpoint status -w json` shows the current).",
    ),
    (
        "required revision is a future revision",
        "That revision does not exist yet; `endpoint status -w json` shows the current.",
    ),
    (
        "user name is empty",
        "Users are checked here: give --user NAME[:PASSWORD], or ETCDCTL_USER.",
    ),
    (
        "invalid user ID or password",
        "Check --user and --password; without a password on the command line you are asked for it.",
    ),
    (
        "permission denied",
        "The user's roles do not allow this; `user get NAME --detail` shows what they do.",
    ),
    (
        "database space exceeded",
        "Compact, defragment, then `alarm disarm`; or raise the members' --quota-backend-bytes.",
    ),
    ("root user does not exist", "Add it first: `user add root`."),
    (
        "requested lease not found",
        "It has expired or was revoked; `lease list` shows those that live.",
    ),
    ("unknown command", "`--help` lists all commands."),
    (
        "not supported as output format",
        "Use -w simple or -w json here.",
    ),
    (
        "unsupported output format",
        "-w takes simple, json, fields, table or protobuf.",
    ),
];

fn advice(message: &str) -> Option<&'static str> {
    let found = ADVICE.iter().find(|(part, _)| message.contains(part));
    found.map(|(_, advice)| *advice)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_read_what_etcdctl_says_and_people_also_what_to_do() {
        let failure = Failure::error("etcdserver: user name is empty");
        assert_eq!(
            failure.text(false),
            "Error: etcdserver: user name is empty\n"
        );
        assert!(failure.text(true).contains("--user NAME"));
        assert_eq!(Failure::told().text(true), "");
    }
}
