//! A whole history, and how it is written down as it happens.

use crate::{
    ClientId, Incident, IncidentKind, Leadership, MemberId, OpId, Operation, Outcome, Request,
    Time, Watch, WatchId, WatchRequest, WatchResponse,
};

/// Everything that was seen of one store, from its first revision on.
///
/// 1. The store was fresh when it began: at revision 1 and empty.
/// 2. Whoever wrote to the store is in here, but for the store itself when a lease ends.
/// 3. All times are of one clock, and an operation's end is not before its call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History {
    /// By [`OpId`].
    pub ops: Vec<Operation>,
    /// By [`WatchId`].
    pub watches: Vec<Watch>,
    /// In any order.
    pub incidents: Vec<Incident>,
    /// In any order.
    pub leaderships: Vec<Leadership>,
    /// From then on all faults were healed and all members had caught up: whatever was called
    /// after it, serializable or not, must show every write that was acknowledged before.
    pub settled: Option<Time>,
}

impl History {
    /// An empty one.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Notes a call; until it is told otherwise, its outcome is unknown.
    pub fn call(
        &mut self,
        client: ClientId,
        member: MemberId,
        call: Time,
        request: Request,
    ) -> OpId {
        self.ops.push(Operation {
            client,
            member,
            call,
            request,
            outcome: Outcome::Unknown {
                at: None,
                error: String::new(),
            },
        });
        OpId(self.ops.len() - 1)
    }

    /// Notes how a call ended.
    pub fn end(&mut self, op: OpId, outcome: Outcome) {
        if let Some(op) = self.ops.get_mut(op.0) {
            op.outcome = outcome;
        }
    }

    /// Notes a request to watch.
    pub fn watch(
        &mut self,
        client: ClientId,
        member: MemberId,
        call: Time,
        request: WatchRequest,
    ) -> WatchId {
        self.watches.push(Watch {
            client,
            member,
            call,
            request,
            responses: Vec::new(),
            ended: None,
        });
        WatchId(self.watches.len() - 1)
    }

    /// Notes what a watcher heard.
    pub fn hear(&mut self, watch: WatchId, response: WatchResponse) {
        if let Some(watch) = self.watches.get_mut(watch.0) {
            watch.responses.push(response);
        }
    }

    /// Notes that a watcher's stream was closed or lost.
    pub fn hear_no_more(&mut self, watch: WatchId, at: Time) {
        if let Some(watch) = self.watches.get_mut(watch.0) {
            watch.ended = Some(at);
        }
    }

    /// Notes what befell a member, or the cluster.
    pub fn incident(&mut self, at: Time, member: Option<MemberId>, what: IncidentKind) {
        self.incidents.push(Incident { at, member, what });
    }

    /// Puts the records of another recorder of the same store and clock after these.
    pub fn append(&mut self, other: Self) {
        self.ops.extend(other.ops);
        self.watches.extend(other.watches);
        self.incidents.extend(other.incidents);
        self.leaderships.extend(other.leaderships);
        self.settled = self.settled.max(other.settled);
    }

    /// The earliest time in it.
    #[must_use]
    pub fn begin(&self) -> Time {
        let ops = self.ops.iter().map(|op| op.call);
        let watches = self.watches.iter().map(|watch| watch.call);
        let incidents = self.incidents.iter().map(|incident| incident.at);
        ops.chain(watches)
            .chain(incidents)
            .min()
            .unwrap_or_default()
    }
}
