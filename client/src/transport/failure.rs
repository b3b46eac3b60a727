//! Why an attempt failed, told apart by what the server may have done.

use crate::error::ServerError;

/// A failed attempt at a call.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CallFailure {
    /// The server surely did not process it.
    #[error("{0}")]
    NotProcessed(String),
    /// It was sent, and then nothing more was heard.
    #[error("{0}")]
    Lost(String),
    /// There was no answer in time.
    #[error("no answer in time")]
    TimedOut,
    /// The server answered with an error.
    #[error("{0}")]
    Status(#[from] ServerError),
    /// The answer is none that gRPC knows.
    #[error("{0}")]
    Protocol(String),
}

impl CallFailure {
    /// What an error of the transport says of a request that was handed to it.
    pub(crate) fn of_stream(error: &h2::Error) -> Self {
        let refused = error.is_reset() && error.reason() == Some(h2::Reason::REFUSED_STREAM);
        // Of the streams that a leaving server names as not processed.
        let left_out = error.is_go_away() && error.reason() == Some(h2::Reason::NO_ERROR);
        if error.is_remote() && (refused || left_out) {
            Self::NotProcessed(error.to_string())
        } else {
            Self::Lost(error.to_string())
        }
    }
}
