//! The end of a run: faults are over, and the cluster must come to rest, alike and complete.

use std::collections::BTreeSet;

use cairn_backend::Backend;
use cairn_history::{ClientId, KeyRange, MemberId, OpId, Outcome, RangeRequest, Request, Time};
use cairn_mvcc::ReadAt;

use super::v2::wall_clock;
use super::{Event, MILLI, World};
use crate::invariants::Violation;

/// How long a cluster without faults may take to come to rest, in milliseconds.
const PATIENCE_MILLIS: u64 = 120_000;

/// Clients that look at each member at the end have numbers from here on.
const LAST_READER: u32 = 900;

/// How far the end has come.
#[derive(Debug, Default)]
pub(super) struct Rest {
    healed: Option<Time>,
    asked: Option<BTreeSet<OpId>>,
    over: bool,
}

impl Rest {
    pub(super) fn begin(&mut self, now: Time) {
        self.healed = Some(now);
    }

    pub(super) const fn has_begun(&self) -> bool {
        self.healed.is_some()
    }

    pub(super) const fn is_over(&self) -> bool {
        self.over
    }

    pub(super) fn answered(&mut self, op: OpId) {
        if let Some(asked) = &mut self.asked {
            asked.remove(&op);
        }
    }
}

impl World<'_> {
    /// Looks whether the cluster is at rest, and goes on to what follows then.
    pub(super) fn look(&mut self) -> Result<(), Violation> {
        let unrest = self.unrest();
        match (&unrest, &self.rest.asked) {
            (None, None) => self.ask_last(),
            (None, Some(asked)) if asked.is_empty() => return self.end(),
            _ => {}
        }
        let since = self.rest.healed.unwrap_or_default();
        if self.now.0 - since.0 > PATIENCE_MILLIS * MILLI {
            let why = unrest.unwrap_or_else(|| "the last reads are not answered".to_owned());
            return Err(Violation(format!(
                "the cluster does not come to rest: {why}"
            )));
        }
        self.plan(200 * MILLI, Event::Look);
        Ok(())
    }

    /// Why the cluster is not at rest.
    fn unrest(&mut self) -> Option<String> {
        self.join_all();
        if self.rest.asked.is_none() && self.is_asking() {
            return Some("clients wait for answers".to_owned());
        }
        if self.leader().is_none() {
            return Some("nobody leads".to_owned());
        }
        let last = self.invariants.last_committed();
        let mut current = 0;
        let ids = self.present();
        for id in &ids {
            let Some(member) = self.members.get(id) else {
                return Some(format!("{id} is not there"));
            };
            let Some(life) = &member.life else {
                return Some(format!("{id} is down"));
            };
            if life.applier.applied() < last {
                return Some(format!("{id} has not applied all up to {last}"));
            }
            if life.store.compaction_finished() != life.store.compaction_point() {
                return Some(format!("{id} has not deleted what is compacted"));
            }
            if !life.applier.leases().lock().is_empty() {
                return Some("leases that nobody renews have not ended".to_owned());
            }
            let clock = wall_clock(self.now, member.clock_behind);
            if cairn_v2::due(&life.store, clock).unwrap_or(true) {
                return Some("keys of the second API outlive their time".to_owned());
            }
            current = life.store.current().to_wire();
        }
        self.disconnect_from_others(&ids);
        let behind = self.behind(current);
        for client in &behind {
            self.ask_progress(*client);
        }
        behind
            .first()
            .map(|client| format!("{client} does not hear of all that happened"))
    }

    /// Every member is asked for everything once more.
    fn ask_last(&mut self) {
        self.trace
            .note(self.now, format_args!("the cluster is at rest"));
        self.history.settled = Some(self.now);
        let ids = self.present();
        let mut asked = BTreeSet::new();
        for (number, id) in (LAST_READER..).step_by(2).zip(ids) {
            let linearizable = RangeRequest::new(KeyRange::all());
            let serializable = RangeRequest {
                serializable: true,
                ..linearizable.clone()
            };
            for (client, read) in [(number, linearizable), (number + 1, serializable)] {
                asked.insert(self.call_as_root(ClientId(client), id, Request::Range(read)));
            }
        }
        self.rest.asked = Some(asked);
    }

    /// Compares all members, and what was acknowledged with what they hold.
    fn end(&mut self) -> Result<(), Violation> {
        self.rest.over = true;
        let mut first: Option<(MemberId, String)> = None;
        for id in self.present() {
            let Some(life) = self.members.get(&id).and_then(|it| it.life.as_ref()) else {
                continue;
            };
            let hash = life.store.hash_kv(ReadAt::Latest);
            let revision = life.applier.auth_store().load().revision().get();
            if revision != self.invariants.rules_revision() {
                return Err(Violation(format!(
                    "{id} shows rules of revision {revision}"
                )));
            }
            let tables = life.store.backend();
            let held = format!("{hash:?} {:?}", Backend::hash(tables));
            match &first {
                None => first = Some((id, held)),
                Some((_, same)) if *same == held => {}
                Some((other, theirs)) => {
                    return Err(Violation(format!(
                        "{id} and {other} do not hold the same: {held} and {theirs}"
                    )));
                }
            }
        }
        if self.v2.is_used() {
            self.check_v2()?;
        }
        for (op, call) in self.history.ops.iter().enumerate() {
            let last_read = call.client.0 >= LAST_READER;
            if last_read && !matches!(call.outcome, Outcome::Ok(_)) {
                return Err(Violation(format!(
                    "a read of the cluster at rest fails: op {op} {:?}",
                    call.outcome
                )));
            }
        }
        if self.v2.is_used() {
            // What is checked of a history knows nothing of the second API's revisions.
            self.history = cairn_history::History::new();
        }
        Ok(())
    }
}
