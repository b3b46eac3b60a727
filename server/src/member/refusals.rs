//! Messages of other members that were refused: counted, said, and acted upon where they show that
//! somebody has forgotten what it promised.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use cairn_consensus::StepError;
use cairn_proto::raftpb;

use super::housekeeping::Housekeeping;
use crate::logging::fatal;
use crate::metrics::PeerMetrics;

/// The same is said again after so long.
const SAY_INTERVAL: Duration = Duration::from_secs(10);
/// Senders and reasons that are kept in mind: more than there are, unless somebody makes them up.
const SAID_MAX: usize = 1024;

/// What becomes of messages that are refused.
pub(crate) struct Refusals {
    metrics: PeerMetrics,
    housekeeping: Housekeeping,
    rate: Rate,
}

/// How often the same is said of the same sender.
#[derive(Default)]
struct Rate(BTreeMap<(u64, &'static str), Said>);

/// When something was said last, and how often it has happened since.
struct Said {
    at: Instant,
    since: u64,
}

/// What is told of a message that was refused.
#[derive(Clone, Copy)]
pub(super) struct Outline {
    message_type: &'static str,
    from: u64,
    term: u64,
    index: u64,
    log_term: u64,
    commit: u64,
}

impl Outline {
    pub(super) fn of(message: &raftpb::Message) -> Self {
        Self {
            message_type: message.r#type().as_str_name(),
            from: message.from(),
            term: message.term(),
            index: message.index(),
            log_term: message.log_term(),
            commit: message.commit(),
        }
    }
}

impl Refusals {
    /// Counts with `metrics`, and has alarms raised by `housekeeping`.
    #[must_use]
    pub(crate) const fn new(metrics: PeerMetrics, housekeeping: Housekeeping) -> Self {
        Self {
            metrics,
            housekeeping,
            rate: Rate(BTreeMap::new()),
        }
    }

    /// Takes note of a message that was refused.
    pub(super) fn note(&mut self, message: Outline, error: StepError) {
        self.metrics.refused(message.from, error.reason());
        if let StepError::Contradiction {
            from,
            contradiction,
            ..
        } = error
        {
            if contradiction.stops_this_member() {
                fatal::stop("consensus", &WentBack(error));
            }
            self.housekeeping.contradicted_by(from);
        }
        self.say(message, &error);
    }

    fn say(&mut self, message: Outline, error: &StepError) {
        let now = Instant::now();
        let Some(times) = self.rate.times_unsaid(message.from, error.reason(), now) else {
            return;
        };
        let Outline {
            message_type,
            from,
            term,
            index,
            log_term,
            commit,
        } = message;
        let reason = error.reason();
        if matches!(error, StepError::Dropped(_)) {
            // Networks that delay and repeat bring some of these.
            tracing::info!(
                remote_peer_id = format!("{from:x}"), message_type, term, index, log_term, commit, times,
                reason, %error, "dropped a message of a peer"
            );
        } else {
            tracing::warn!(
                remote_peer_id = format!("{from:x}"), message_type, term, index, log_term, commit, times,
                reason, %error, "refused a message of a peer"
            );
        }
    }
}

impl Rate {
    /// How often it has happened since it was said, if it is time to say it.
    fn times_unsaid(&mut self, from: u64, reason: &'static str, now: Instant) -> Option<u64> {
        if self.0.len() >= SAID_MAX {
            self.0.clear();
        }
        let first = Said { at: now, since: 0 };
        let is_first = !self.0.contains_key(&(from, reason));
        let said = self.0.entry((from, reason)).or_insert(first);
        said.since += 1;
        if !is_first && now.duration_since(said.at) < SAY_INTERVAL {
            return None;
        }
        said.at = now;
        Some(std::mem::take(&mut said.since))
    }
}

/// Why the process stops, and what is to be done.
#[derive(Debug, thiserror::Error)]
#[error(
    "a data directory went back: it was put back from a copy, emptied or cut short, here or at another \
     member, and what it acknowledged or voted for is lost. Remove the member whose directory that was \
     (`etcdctl member remove`) and add it anew with an empty one (`etcdctl member add`); if it was a \
     majority, go on from one member's data with --force-new-cluster"
)]
struct WentBack(#[source] StepError);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_is_said_at_once_and_then_every_ten_seconds_with_how_often_it_came() {
        let mut rate = Rate::default();
        let start = Instant::now();
        let mut at = |secs, from| {
            let now = start + Duration::from_secs(secs);
            rate.times_unsaid(from, "impossible", now)
        };
        assert_eq!(at(0, 2), Some(1));
        assert_eq!(at(1, 2), None);
        assert_eq!(at(2, 3), Some(1), "another sender");
        assert_eq!(at(9, 2), None);
        assert_eq!(at(10, 2), Some(3));
        assert_eq!(at(11, 2), None);
    }
}
