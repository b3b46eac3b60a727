//! What can go wrong with a call, as a program wants to tell it apart.

use std::time::Duration;

use crate::etcd_error::{Code, EtcdError};

/// Why a call failed.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The server answered with an error: nothing was done.
    #[error("{0}")]
    Server(#[from] ServerError),

    /// A write was sent and its outcome is not known: it may have been applied, may be applied
    /// later, or never. It was not sent again, unless doing it twice is the same as doing it once
    /// ([`crate::Effect::Repeatable`]). Read before you write again.
    #[error("the write may or may not have been applied: {cause}")]
    Ambiguous {
        /// What hid the outcome.
        cause: String,
        /// The server's error, if it was the server that gave up.
        server: Option<ServerError>,
    },

    /// No server could be reached; nothing was sent.
    #[error("no endpoint is available: {reason}")]
    Unavailable {
        /// The latest failure.
        reason: String,
    },

    /// A read was not answered in time.
    #[error("no answer within {after:?}: {reason}")]
    Timeout {
        /// The time that was given.
        after: Duration,
        /// The latest failure.
        reason: String,
    },

    /// The connection broke during a read or a stream that cannot be continued elsewhere.
    #[error("the connection was lost: {reason}")]
    Lost {
        /// What the transport said.
        reason: String,
    },

    /// The server's answer is not one that etcd gives.
    #[error("unexpected answer: {reason}")]
    Protocol {
        /// What is wrong with it.
        reason: String,
    },

    /// What the caller gave cannot be used.
    #[error("{what}: {reason}")]
    Invalid {
        /// The option or argument.
        what: String,
        /// What is wrong with it.
        reason: String,
    },

    /// A lease ended, and with it what stood on it: a session, a lock, leadership.
    #[error("the lease ended")]
    LeaseLost,
}

/// An error as a server sent it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ServerError {
    /// The code on the wire.
    pub code: Code,
    /// The text on the wire.
    pub message: String,
    /// What etcd means by the text, if it is one of etcd's.
    pub etcd: Option<EtcdError>,
}

impl ServerError {
    /// An error from a status.
    #[must_use]
    pub fn new(code: Code, message: String) -> Self {
        let etcd = EtcdError::from_text(&message);
        Self {
            code,
            message,
            etcd,
        }
    }
}

impl Error {
    /// The server's error, if it sent one.
    #[must_use]
    pub fn server(&self) -> Option<&ServerError> {
        match self {
            Self::Server(error) => Some(error),
            Self::Ambiguous { server, .. } => server.as_ref(),
            _ => None,
        }
    }

    /// etcd's name for the error, if it is one of etcd's.
    #[must_use]
    pub fn etcd(&self) -> Option<EtcdError> {
        self.server().and_then(|error| error.etcd)
    }

    /// The gRPC code, if the server sent one.
    #[must_use]
    pub fn code(&self) -> Option<Code> {
        self.server().map(|error| error.code)
    }

    /// Whether a write may have been applied in spite of the error.
    #[must_use]
    pub fn is_ambiguous(&self) -> bool {
        matches!(self, Self::Ambiguous { .. })
    }

    pub(crate) fn protocol(reason: impl Into<String>) -> Self {
        Self::Protocol {
            reason: reason.into(),
        }
    }

    pub(crate) fn invalid(what: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Invalid {
            what: what.into(),
            reason: reason.into(),
        }
    }
}
