//! Whether a call that failed is tried again.
//!
//! A read, or a request that may be done twice, is tried again wherever the failure may have been
//! the member's or the network's. A write is tried again only if it surely was not applied; where
//! that cannot be known, the failure is ambiguous, and says so. So does the last failure of a change
//! that was repeated, if an earlier attempt may have been applied.

use std::time::Duration;

use super::super::etcd_error::{Code, EtcdError};
use crate::error::ServerError;
use crate::transport::CallFailure;

/// What doing a request twice would do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Nothing: it changes nothing.
    Read,
    /// A change, and the same as doing it once.
    Repeatable,
    /// Another write.
    Write,
    /// The server carries it out in several steps. An error that says of one step that it was not
    /// done says nothing of those before it.
    Steps,
}

/// What to do about a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Try again, at another endpoint if there is one.
    Retry,
    /// Fetch a new token and try again.
    RenewToken,
    /// Tell the caller: nothing was done.
    Fail,
    /// Tell the caller: it may have been done.
    Ambiguous,
}

/// The shortest wait between two attempts, but for the first repetition.
const WAIT_MIN: Duration = Duration::from_millis(25);
/// The longest.
const WAIT_MAX: Duration = Duration::from_secs(1);

/// Decides on a failure of a request with this effect.
pub(crate) fn decide(effect: Effect, failure: &CallFailure) -> Verdict {
    match failure {
        CallFailure::NotProcessed(_) => Verdict::Retry,
        CallFailure::Lost(_) | CallFailure::TimedOut => unknown(effect),
        CallFailure::Status(error) => decide_answer(effect, error),
        // It was processed, and what came of it cannot be read.
        CallFailure::Protocol(_) => match effect {
            Effect::Read | Effect::Repeatable => Verdict::Fail,
            Effect::Write | Effect::Steps => Verdict::Ambiguous,
        },
    }
}

fn decide_answer(effect: Effect, error: &ServerError) -> Verdict {
    match error.etcd {
        Some(EtcdError::InvalidAuthToken | EtcdError::AuthOldRevision | EtcdError::UserEmpty) => {
            Verdict::RenewToken
        }
        Some(EtcdError::NotSupportedForLearner) => Verdict::Retry,
        // Said before anything is proposed, by the step that fails.
        Some(EtcdError::NoLeader | EtcdError::TooManyRequests) => match effect {
            Effect::Read | Effect::Repeatable | Effect::Write => Verdict::Retry,
            Effect::Steps => Verdict::Ambiguous,
        },
        Some(
            EtcdError::LeaderChanged
            | EtcdError::Stopped
            | EtcdError::Timeout
            | EtcdError::TimeoutDueToLeaderFail
            | EtcdError::TimeoutDueToConnectionLost
            | EtcdError::TimeoutWaitAppliedIndex
            | EtcdError::RequestCancelled
            | EtcdError::DeadlineExceeded,
        ) => unknown(effect),
        Some(_) => Verdict::Fail,
        // Not etcd's words: a proxy's, or the transport's at the server.
        None => match error.code {
            Code::Unavailable | Code::Cancelled | Code::DeadlineExceeded | Code::Aborted => {
                unknown(effect)
            }
            Code::Internal if matches!(effect, Effect::Write | Effect::Steps) => Verdict::Ambiguous,
            _ => Verdict::Fail,
        },
    }
}

fn unknown(effect: Effect) -> Verdict {
    match effect {
        Effect::Read | Effect::Repeatable => Verdict::Retry,
        Effect::Write | Effect::Steps => Verdict::Ambiguous,
    }
}

/// Whether an attempt that failed so may have changed something all the same. Then the call has an
/// unknown outcome unless a later attempt succeeds, whatever the later ones fail with.
pub(crate) fn hides_outcome(effect: Effect, failure: &CallFailure) -> bool {
    let as_if = match effect {
        Effect::Read => return false,
        Effect::Repeatable | Effect::Write => Effect::Write,
        Effect::Steps => Effect::Steps,
    };
    decide(as_if, failure) == Verdict::Ambiguous
}

/// Whether an answer speaks against the member that gave it, more than against the request.
pub(crate) fn is_members_fault(failure: &CallFailure) -> bool {
    match failure {
        CallFailure::Status(error) => match error.etcd {
            Some(etcd) => {
                etcd.code() == Code::Unavailable || etcd == EtcdError::NotSupportedForLearner
            }
            None => error.code == Code::Unavailable,
        },
        CallFailure::TimedOut => true,
        _ => false,
    }
}

/// How long to wait before the attempt after `failed` ones. The first repetition goes at once.
pub(crate) fn wait_after(failed: u32, endpoints: usize) -> Duration {
    // A round over all endpoints without a wait, as a member that left is no news of the others.
    let rounds = usize::try_from(failed).unwrap_or(usize::MAX) / endpoints.max(1);
    match u32::try_from(rounds) {
        Ok(0) => Duration::ZERO,
        Ok(rounds) => WAIT_MIN
            .saturating_mul(1 << (rounds - 1).min(10))
            .min(WAIT_MAX),
        Err(_) => WAIT_MAX,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(error: EtcdError) -> CallFailure {
        ServerError::new(error.code(), error.text().to_owned()).into()
    }

    #[test]
    fn what_was_surely_not_processed_is_tried_again() {
        for failure in [
            CallFailure::NotProcessed(String::new()),
            answer(EtcdError::TooManyRequests),
            answer(EtcdError::NoLeader),
        ] {
            assert_eq!(
                decide(Effect::Write, &failure),
                Verdict::Retry,
                "{failure:?}"
            );
        }
    }

    #[test]
    fn a_write_whose_outcome_is_hidden_is_ambiguous_and_a_read_is_repeated() {
        let proxy = ServerError::new(Code::Unavailable, "upstream gone".to_owned());
        for failure in [
            CallFailure::Lost(String::new()),
            CallFailure::TimedOut,
            answer(EtcdError::Timeout),
            answer(EtcdError::Stopped),
            proxy.into(),
        ] {
            assert_eq!(
                decide(Effect::Write, &failure),
                Verdict::Ambiguous,
                "{failure:?}"
            );
            for effect in [Effect::Read, Effect::Repeatable] {
                assert_eq!(decide(effect, &failure), Verdict::Retry, "{failure:?}");
            }
            assert!(hides_outcome(Effect::Repeatable, &failure), "{failure:?}");
            assert!(!hides_outcome(Effect::Read, &failure), "{failure:?}");
        }
        assert!(!hides_outcome(
            Effect::Repeatable,
            &CallFailure::NotProcessed(String::new())
        ));
    }

    #[test]
    fn what_has_steps_is_tried_again_only_if_the_first_was_not_begun() {
        for failure in [
            answer(EtcdError::NoLeader),
            answer(EtcdError::TooManyRequests),
            answer(EtcdError::Timeout),
            CallFailure::TimedOut,
        ] {
            assert_eq!(
                decide(Effect::Steps, &failure),
                Verdict::Ambiguous,
                "{failure:?}"
            );
        }
        for failure in [
            CallFailure::NotProcessed(String::new()),
            answer(EtcdError::NotSupportedForLearner),
        ] {
            assert_eq!(
                decide(Effect::Steps, &failure),
                Verdict::Retry,
                "{failure:?}"
            );
        }
    }

    #[test]
    fn an_answer_about_the_request_is_final() {
        for error in [
            EtcdError::Compacted,
            EtcdError::NoSpace,
            EtcdError::PermissionDenied,
        ] {
            assert_eq!(decide(Effect::Repeatable, &answer(error)), Verdict::Fail);
            assert_eq!(decide(Effect::Write, &answer(error)), Verdict::Fail);
        }
    }

    #[test]
    fn the_first_round_over_the_endpoints_has_no_wait() {
        assert_eq!(wait_after(2, 3), Duration::ZERO);
        assert_eq!(wait_after(3, 3), WAIT_MIN);
        assert_eq!(wait_after(u32::MAX, 1), WAIT_MAX);
    }
}
