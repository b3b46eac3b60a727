//! The history that all clients write, and the clock that all times are of.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use cairn_history::{
    ClientId, History, IncidentKind, Leadership, MemberId, OpId, Outcome, Request, Time, WatchId,
    WatchRequest, WatchResponse,
};

/// Writes a history; clones write the same one.
#[derive(Clone, Debug)]
pub(crate) struct Recorder {
    begin: Instant,
    history: Arc<Mutex<History>>,
}

impl Recorder {
    pub(crate) fn new() -> Self {
        Self {
            begin: Instant::now(),
            history: Arc::default(),
        }
    }

    pub(crate) fn now(&self) -> Time {
        let nanos = self.begin.elapsed().as_nanos();
        Time(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    fn write<T>(&self, note: impl FnOnce(&mut History, Time) -> T) -> T {
        // Nothing is half written if a client failed meanwhile.
        let mut history = self.history.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.now();
        note(&mut history, now)
    }

    pub(crate) fn call(&self, client: ClientId, member: MemberId, request: Request) -> OpId {
        self.write(|history, now| history.call(client, member, now, request))
    }

    pub(crate) fn end(&self, op: OpId, outcome: Outcome) {
        self.write(|history, _| history.end(op, outcome));
    }

    pub(crate) fn watch(
        &self,
        client: ClientId,
        member: MemberId,
        request: WatchRequest,
    ) -> WatchId {
        self.write(|history, now| history.watch(client, member, now, request))
    }

    pub(crate) fn hear(&self, watch: WatchId, response: WatchResponse) {
        self.write(|history, _| history.hear(watch, response));
    }

    pub(crate) fn hear_no_more(&self, watch: WatchId) {
        self.write(|history, now| history.hear_no_more(watch, now));
    }

    pub(crate) fn incident(&self, member: Option<MemberId>, what: IncidentKind) {
        self.write(|history, now| history.incident(now, member, what));
    }

    pub(crate) fn leadership(&self, leadership: Leadership) {
        self.write(|history, _| history.leaderships.push(leadership));
    }

    pub(crate) fn settled(&self) {
        self.write(|history, now| history.settled = Some(now));
    }

    /// What was written so far.
    pub(crate) fn history(&self) -> History {
        self.write(|history, _| history.clone())
    }
}
