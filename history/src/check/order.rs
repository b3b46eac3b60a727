//! The order of all writes, by the model.
//!
//! Every revision was made by one write, and an acknowledged write names its own. What is left to
//! search is who made the others: writes whose outcome nobody knows, and leases that ended. So the
//! search goes from revision to revision. Where one was acknowledged there is nothing to choose.
//! Where none was, it tries those that may have made it, one after the other, and comes back if the
//! answers after it do not fit: Wing and Gong's search with Lowe's memory of dead ends, on an order
//! that is given but for its holes.
//!
//! Times are only looked at here to know who may fill a hole; `real_time` compares the order with
//! time.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};

use super::agree::agrees;
use super::evidence::Evidence;
use super::leases::Ends;
use super::observed::ObservedRevisions;
use super::place::Place;
use crate::model::{States, Writing, lock_key, perform};
use crate::timeline::Concerned;
use crate::verdict::Rule;
use crate::{
    Event, History, KeyRange, KeyValue, LeaseId, OpId, Outcome, Request, Response, Revision, Time,
};

/// Holes that evidence is collected for: a broken server can name any revision.
const HOLES_MAX: usize = 1_000_000;

/// Who made a revision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Writer {
    /// An operation.
    Op(OpId),
    /// A call of a lock that failed and took its key back.
    GivenUp(OpId),
    /// The store, when a lease ended.
    Expiry(LeaseId),
}

/// The order of all writes.
#[derive(Debug)]
pub(crate) struct Order {
    pub(crate) states: States,
    made: Vec<(Writer, Vec<Event>)>,
}

/// An answer or a revision that the model cannot explain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mismatch {
    pub(crate) rule: Rule,
    pub(crate) text: String,
    pub(crate) concerned: Concerned,
    revision: Revision,
}

/// How a search ended.
#[derive(Debug)]
pub(crate) enum Found {
    /// With an order, in which some answers are wrong, or none.
    Order(Order, Vec<Mismatch>),
    /// There is none: the furthest that the search came to, and how many mismatches it had passed.
    Nothing(Vec<Mismatch>),
    /// It took too many steps; the revision that it came to.
    GaveUp(Revision),
}

/// A place where several may have made a revision.
#[derive(Debug)]
struct Choice {
    revision: Revision,
    /// Not tried yet, the best last.
    candidates: Vec<Candidate>,
    /// What was taken before this choice.
    taken: usize,
    memory: Memory,
}

#[derive(Debug)]
struct Candidate {
    writer: Writer,
    writing: Writing,
}

/// What decides whether the rest can be explained: the revision, which unknown ones are used up, and
/// the state.
type Memory = (Revision, u64, u64);

/// The search.
pub(crate) struct Search<'a> {
    history: &'a History,
    observed: &'a ObservedRevisions,
    evidence: Option<&'a Evidence<'a>>,
    ends: Option<&'a Ends>,
    steps_max: usize,
    pub(crate) steps: usize,
    made_by: BTreeMap<Revision, OpId>,
    after: BTreeMap<Revision, Vec<OpId>>,
    made_or_after: BTreeMap<Revision, Vec<OpId>>,
    /// By the time of their calls.
    open: Vec<OpId>,
    order: Order,
    taken: Vec<OpId>,
    used: BTreeSet<OpId>,
    choices: Vec<Choice>,
    dead: BTreeSet<Memory>,
    passed: Vec<Mismatch>,
    furthest: Vec<Mismatch>,
}

impl Order {
    fn fresh() -> Self {
        Self {
            states: States::fresh(),
            made: Vec::new(),
        }
    }

    /// Who made a revision, and what it changed.
    pub(crate) fn made(&self, revision: Revision) -> Option<&(Writer, Vec<Event>)> {
        let place = revision.0.checked_sub(Revision::FRESH.0 + 1)?;
        self.made.get(usize::try_from(place).ok()?)
    }

    /// All revisions that were made, with who and what.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Revision, &Writer, &[Event])> {
        let made = (Revision::FRESH.0 + 1..).zip(&self.made);
        made.map(|(revision, (writer, changes))| (Revision(revision), writer, changes.as_slice()))
    }

    /// What was changed from a revision to another, both included.
    pub(crate) fn changes(
        &self,
        first: Revision,
        last: Revision,
    ) -> impl Iterator<Item = (Revision, &[Event])> {
        let first = first.max(Revision::FRESH.next());
        let all = (first.0..=last.min(self.last()).0).map(Revision);
        all.filter_map(|it| Some((it, self.made(it)?.1.as_slice())))
    }

    /// The newest revision.
    pub(crate) fn last(&self) -> Revision {
        self.states.last().revision()
    }

    /// The operation that made a revision, if one did.
    pub(crate) fn op(&self, revision: Revision) -> Option<OpId> {
        match self.made(revision)?.0 {
            Writer::Op(op) | Writer::GivenUp(op) => Some(op),
            Writer::Expiry(_) => None,
        }
    }

    fn push(&mut self, writer: Writer, writing: Writing) {
        if let Some((state, changes)) = writing.end() {
            self.states.push(state);
            self.made.push((writer, changes));
        }
    }

    fn truncate_after(&mut self, revision: Revision) {
        self.states.truncate_after(revision);
        let keep = revision.0.saturating_sub(Revision::FRESH.0);
        self.made
            .truncate(usize::try_from(keep).unwrap_or(usize::MAX));
    }
}

impl<'a> Search<'a> {
    pub(crate) fn new(
        history: &'a History,
        places: &[Place],
        observed: &'a ObservedRevisions,
        steps_max: usize,
    ) -> Self {
        let mut search = Self {
            history,
            observed,
            evidence: None,
            ends: None,
            steps_max,
            steps: 0,
            made_by: BTreeMap::new(),
            after: BTreeMap::new(),
            made_or_after: BTreeMap::new(),
            open: Vec::new(),
            order: Order::fresh(),
            taken: Vec::new(),
            used: BTreeSet::new(),
            choices: Vec::new(),
            dead: BTreeSet::new(),
            passed: Vec::new(),
            furthest: Vec::new(),
        };
        for (id, place) in places.iter().enumerate() {
            let id = OpId(id);
            match *place {
                Place::Made(revision) => {
                    search.made_by.entry(revision).or_insert(id);
                }
                Place::MadeOrAfter(revision) => {
                    search.made_or_after.entry(revision).or_default().push(id);
                }
                Place::After(revision) | Place::Of(revision) => {
                    search.after.entry(revision).or_default().push(id);
                }
                Place::Open => search.open.push(id),
                Place::Nowhere => {}
            }
            // What a lock wrote, its answer does not say.
            if *place != Place::Open && search.is_lock(id) && *place != Place::Nowhere {
                search.open.push(id);
            }
        }
        let mut open = std::mem::take(&mut search.open);
        open.sort_by_key(|id| search.call(*id));
        search.open = open;
        search
    }

    /// Also holds the order to what is known of revisions that nobody was acknowledged for, and of the
    /// times of leases.
    pub(crate) fn with_evidence(
        mut self,
        evidence: &'a Evidence<'a>,
        ends: Option<&'a Ends>,
    ) -> Self {
        self.evidence = Some(evidence);
        self.ends = ends;
        self
    }

    /// The revisions that nobody was acknowledged for.
    pub(crate) fn holes(&self) -> impl Iterator<Item = Revision> + '_ {
        let all = Revision::FRESH.0 + 1..=self.observed.newest().0;
        let holes = all
            .map(Revision)
            .filter(|it| !self.made_by.contains_key(it));
        holes.take(HOLES_MAX)
    }

    fn op(&self, id: OpId) -> Option<&'a crate::Operation> {
        self.history.ops.get(id.0)
    }

    fn call(&self, id: OpId) -> Time {
        self.op(id).map_or(Time::NEVER, |op| op.call)
    }

    fn is_lock(&self, id: OpId) -> bool {
        self.op(id)
            .is_some_and(|op| matches!(op.request, Request::Lock { .. }))
    }

    pub(crate) fn run(&mut self) -> Found {
        let mut wrong = self.wrong_answers(Revision::FRESH);
        self.passed.append(&mut wrong);
        loop {
            let revision = self.order.last().next();
            if revision > self.observed.newest() {
                let order = std::mem::replace(&mut self.order, Order::fresh());
                return Found::Order(order, std::mem::take(&mut self.passed));
            }
            if self.steps > self.steps_max {
                return Found::GaveUp(revision);
            }
            let mut wrong: Vec<Mismatch> = self.make(revision).err().into_iter().collect();
            let is_made = self.order.last() == revision;
            if is_made {
                wrong.extend(self.wrong_answers(revision));
            }
            if wrong.is_empty() {
                continue;
            }
            if self.choices.iter().any(|it| !it.candidates.is_empty()) {
                self.go_back(wrong);
            } else if is_made {
                // No other order is left, so that it is the answer that is wrong.
                self.passed.append(&mut wrong);
            } else {
                self.keep_if_further(wrong);
                let mut found = std::mem::take(&mut self.passed);
                found.append(&mut self.furthest);
                return Found::Nothing(found);
            }
        }
    }

    /// Makes the next revision, by whoever was acknowledged for it or by the first that fits.
    fn make(&mut self, revision: Revision) -> Result<(), Mismatch> {
        match self.made_by.get(&revision) {
            Some(id) => self.make_acknowledged(revision, *id),
            None => self.choose(revision),
        }
    }

    fn make_acknowledged(&mut self, revision: Revision, id: OpId) -> Result<(), Mismatch> {
        let Some(op) = self.op(id) else { return Ok(()) };
        self.steps += 1;
        let performed = perform(&self.order.states, self.order.states.last(), &op.request);
        let (writing, model) = match performed {
            Ok(done) => done,
            Err(why) => {
                let text = format!("{id} made revision {revision}, but was to be refused: {why}");
                return Err(self.mismatch(revision, id, text, &[]));
            }
        };
        if writing.changes().is_empty() {
            let text = format!(
                "{id} says that it made revision {revision}, but it had nothing to change there"
            );
            return Err(self.mismatch(revision, id, text, &[]));
        }
        let heard_otherwise = self
            .evidence
            .is_some_and(|it| it.contradicts(revision, writing.changes()));
        if heard_otherwise && self.choices.iter().any(|it| !it.candidates.is_empty()) {
            let text = format!("watchers heard otherwise of revision {revision}, which {id} made");
            return Err(self.mismatch(revision, id, text, &[]));
        }
        let before = self.previous_writers(&writing);
        self.order.push(Writer::Op(id), writing);
        match (model, op.outcome.answer()) {
            (Some(model), Some(answer)) if !agrees(&op.request, &model, &answer.body) => {
                let text = format!(
                    "{id} at revision {revision} must answer `{model}`, but answered `{}`",
                    answer.body
                );
                Err(self.mismatch(revision, id, text, &before))
            }
            _ => Ok(()),
        }
    }

    /// Those who wrote what a write found.
    fn previous_writers(&self, writing: &Writing) -> Vec<OpId> {
        let before = writing
            .changes()
            .iter()
            .filter_map(|it| it.prev_kv.as_ref());
        before
            .filter_map(|kv| self.order.op(kv.mod_revision))
            .collect()
    }

    /// Fills a hole.
    fn choose(&mut self, revision: Revision) -> Result<(), Mismatch> {
        let memory = self.memory(revision);
        let mut candidates = if self.dead.contains(&memory) {
            Vec::new()
        } else {
            self.candidates(revision)
        };
        candidates.reverse();
        let Some(first) = candidates.pop() else {
            return Err(self.unexplained(revision));
        };
        if !candidates.is_empty() {
            self.choices.push(Choice {
                revision,
                candidates,
                taken: self.taken.len(),
                memory,
            });
        }
        self.take(first);
        Ok(())
    }

    fn take(&mut self, candidate: Candidate) {
        if let Writer::Op(id) = candidate.writer {
            self.taken.push(id);
            self.used.insert(id);
        }
        self.order.push(candidate.writer, candidate.writing);
    }

    fn keep_if_further(&mut self, wrong: Vec<Mismatch>) {
        let reached = |list: &[Mismatch]| list.first().map(|it| it.revision);
        if reached(&wrong) > reached(&self.furthest) {
            self.furthest = wrong;
        }
    }

    /// Returns to the last choice that has a candidate left, and takes it if what follows it fits.
    fn go_back(&mut self, wrong: Vec<Mismatch>) {
        self.keep_if_further(wrong);
        while let Some(choice) = self.choices.last_mut() {
            let (revision, memory) = (choice.revision, choice.memory);
            let next = choice.candidates.pop();
            for id in self.taken.drain(choice.taken..) {
                self.used.remove(&id);
            }
            self.order.truncate_after(revision.previous());
            let Some(candidate) = next else {
                self.dead.insert(memory);
                self.choices.pop();
                continue;
            };
            self.take(candidate);
            let wrong = self.wrong_answers(revision);
            if wrong.is_empty() || self.choices.iter().all(|it| it.candidates.is_empty()) {
                self.passed.extend(wrong);
                return;
            }
            self.keep_if_further(wrong);
        }
    }

    /// All that may have made a revision, what is likelier first.
    fn candidates(&mut self, revision: Revision) -> Vec<Candidate> {
        let seen = self.observed.earliest_of(revision);
        let seen = seen.map_or(Time::NEVER, |it| it.at);
        let acknowledged = self.made_or_after.get(&revision).into_iter().flatten();
        let unused = self.open.iter().filter(|id| !self.used.contains(id));
        let ops = acknowledged.chain(unused).copied();
        let ops: Vec<OpId> = ops.filter(|id| self.call(*id) <= seen).collect();
        let mut tried: BTreeSet<u64> = BTreeSet::new();
        let mut found = Vec::new();
        for id in ops {
            let Some(op) = self.op(id) else { continue };
            // Of equal requests any one will do.
            if !tried.insert(digest(&op.request)) {
                continue;
            }
            self.steps += 1;
            let states = &self.order.states;
            if let Ok((writing, _)) = perform(states, states.last(), &op.request) {
                let writer = Writer::Op(id);
                self.keep_if_possible(revision, Candidate { writer, writing }, &mut found);
            }
        }
        for id in &self.open {
            if let Some(op) = self.op(*id)
                && let Request::Lock { name, lease } = &op.request
                && op.outcome.answer().is_none()
                && op.call <= seen
            {
                let mut writing = Writing::on(self.order.states.last());
                writing.delete(&KeyRange::One(lock_key(name, *lease)));
                let writer = Writer::GivenUp(*id);
                self.keep_if_possible(revision, Candidate { writer, writing }, &mut found);
            }
        }
        for lease in self.order.states.last().leases() {
            let may_end = |ends: &Ends| ends.may_be_before(lease, seen);
            if !self.ends.is_none_or(may_end) {
                continue;
            }
            self.steps += 1;
            let mut writing = Writing::on(self.order.states.last());
            writing.end_lease(lease);
            let writer = Writer::Expiry(lease);
            self.keep_if_possible(revision, Candidate { writer, writing }, &mut found);
        }
        found
    }

    fn keep_if_possible(
        &self,
        revision: Revision,
        candidate: Candidate,
        found: &mut Vec<Candidate>,
    ) {
        let changes = candidate.writing.changes();
        let allowed = |evidence: &Evidence<'_>| evidence.allows(revision, changes);
        if !changes.is_empty() && self.evidence.is_none_or(allowed) {
            found.push(candidate);
        }
    }

    /// What stands between a revision and the next and does not answer as the model does.
    fn wrong_answers(&mut self, revision: Revision) -> Vec<Mismatch> {
        let after = self.after.get(&revision).into_iter().flatten();
        let perhaps = self.made_or_after.get(&revision).into_iter().flatten();
        let writer = self.order.op(revision);
        let ids: Vec<OpId> = after
            .chain(perhaps)
            .copied()
            .filter(|id| Some(*id) != writer)
            .collect();
        let mut wrong = Vec::new();
        for id in ids {
            self.steps += 1;
            wrong.extend(self.wrong_answer(revision, id));
        }
        wrong
    }

    fn wrong_answer(&self, revision: Revision, id: OpId) -> Option<Mismatch> {
        let op = self.op(id)?;
        let seen = &op.outcome.answer()?.body;
        if matches!(op.request, Request::Lock { .. }) {
            return None;
        }
        let state = self.order.states.at(revision)?;
        let text = match perform(&self.order.states, state, &op.request) {
            Err(why) => format!("{id} after revision {revision} was to be refused: {why}"),
            Ok((writing, _)) if !writing.changes().is_empty() => format!(
                "{id} says that it changed nothing after revision {revision}, but was to change `{}`",
                writing.changes().first()?
            ),
            Ok((_, Some(model))) if !agrees(&op.request, &model, seen) => {
                let concerned = self.writers_of_difference(&model, seen);
                let text =
                    format!("{id} after revision {revision} must see `{model}`, but saw `{seen}`");
                return Some(self.mismatch(revision, id, text, &concerned));
            }
            Ok(_) => return None,
        };
        Some(self.mismatch(revision, id, text, &[]))
    }

    /// Who wrote the versions that one of two answers has and the other has not.
    fn writers_of_difference(&self, model: &Response, seen: &Response) -> Vec<OpId> {
        let kvs = |response: &Response| match response {
            Response::Range(range) => range.kvs.clone(),
            _ => Vec::new(),
        };
        let (model, seen) = (kvs(model), kvs(seen));
        let lacking = |these: &[KeyValue], those: &[KeyValue]| {
            let lacking = these.iter().filter(|kv| !those.contains(kv));
            lacking.map(|kv| kv.mod_revision).collect::<Vec<_>>()
        };
        let mut revisions = lacking(&model, &seen);
        revisions.extend(lacking(&seen, &model));
        revisions
            .into_iter()
            .filter_map(|it| self.order.op(it))
            .collect()
    }

    fn mismatch(&self, revision: Revision, id: OpId, text: String, others: &[OpId]) -> Mismatch {
        let is_snapshot = self.op(id).is_some_and(|op| match &op.request {
            Request::Range(range) => range.serializable,
            Request::Txn(txn) => txn.is_serializable(),
            _ => false,
        });
        let rule = if is_snapshot {
            Rule::Snapshot
        } else {
            Rule::StrictlySerializable
        };
        let writer = self.order.op(revision);
        Mismatch {
            rule,
            text,
            concerned: Concerned::default()
                .op(id)
                .ops(others.iter().copied())
                .ops(writer),
            revision,
        }
    }

    /// A revision that nobody can have made, with those who come to mind and why they cannot.
    fn unexplained(&self, revision: Revision) -> Mismatch {
        let is_known = self
            .furthest
            .first()
            .is_some_and(|it| revision <= it.revision);
        if is_known {
            return Mismatch {
                rule: Rule::StrictlySerializable,
                text: String::new(),
                concerned: Concerned::default(),
                revision,
            };
        }
        let mut text = format!("nobody can have made revision {revision}");
        let mut concerned = Concerned::default();
        if let Some(observation) = self.observed.earliest_of(revision) {
            concerned = observation.concerns(concerned);
        }
        if let Some(evidence) = self.evidence {
            let known = evidence.describe(revision);
            if !known.is_empty() {
                text = format!("{text}, which did `{known}`");
            }
            let written = evidence.written(revision);
            for (id, why) in self.excluded(revision, &written) {
                text = format!("{text}; {id} {why}");
                concerned = concerned.op(id);
            }
        }
        Mismatch {
            rule: Rule::StrictlySerializable,
            text,
            concerned,
            revision,
        }
    }

    fn excluded(&self, revision: Revision, written: &[&KeyValue]) -> BTreeMap<OpId, String> {
        let ops = self.history.ops.iter().enumerate();
        let fitting = ops.filter(|(_, op)| written.iter().any(|kv| op.request.puts(kv)));
        let made = |id: OpId| {
            let mut made = self.order.iter();
            made.find(|(_, writer, _)| **writer == Writer::Op(id))
        };
        let why = |id: OpId, op: &crate::Operation| {
            if let Some((other, ..)) = made(id) {
                return format!("made revision {other}");
            }
            match &op.outcome {
                Outcome::Refused { .. } => "was refused".to_owned(),
                Outcome::Ok(answer) => match answer.revision {
                    Some(other) => format!("was acknowledged for revision {other}"),
                    None => "was acknowledged for no revision".to_owned(),
                },
                Outcome::Unknown { .. } => match self.observed.earliest_of(revision) {
                    Some(observation) if observation.at < op.call => {
                        "was called after the revision was seen".to_owned()
                    }
                    _ => "would not have done just that".to_owned(),
                },
            }
        };
        fitting
            .map(|(id, op)| (OpId(id), why(OpId(id), op)))
            .collect()
    }

    fn memory(&self, revision: Revision) -> Memory {
        let used = self.used.iter().filter_map(|id| self.op(*id));
        let used = used.fold(0_u64, |sum, op| sum.wrapping_add(digest(&op.request)));
        (revision, used, self.order.states.last().digest())
    }
}

fn digest(request: &Request) -> u64 {
    // Its keys are fixed: the same in every run.
    let mut hasher = DefaultHasher::new();
    request.hash(&mut hasher);
    hasher.finish()
}
