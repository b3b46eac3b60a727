//! Histories of a correct store with one thing changed, which nobody can have seen: each is found.
//!
//! An auditor watches all keys from the beginning, so that what was written is known, and each
//! change is one that no other order of writes explains. A change that could have been seen is none:
//! a read at another revision where nothing happened in between, say.

use cairn_history::{
    Event, EventKind, History, KeyValue, Limits, OpId, Outcome, Refusal, Request, Response,
    Revision, Rule, Time, WatchId, WatchResponse, WatchSays, check,
};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use crate::world::{SMALL, Size, history};

/// Changes one thing, if there is such a thing, and names the rules that may be seen to be broken.
type Mutation = fn(&mut History, &mut SmallRng) -> Option<&'static [Rule]>;

const READS: &[Rule] = &[Rule::StrictlySerializable, Rule::Snapshot];
const WRITES: &[Rule] = &[Rule::StrictlySerializable];

/// The write of a revision is gone: either the store is wrong, or all who heard of it.
const GONE: &[Rule] = &[Rule::StrictlySerializable, Rule::EventContent];

/// One of those that fit.
fn choose<T>(rng: &mut SmallRng, mut fitting: Vec<T>) -> Option<T> {
    if fitting.is_empty() {
        return None;
    }
    let at = rng.random_range(0..fitting.len());
    Some(fitting.swap_remove(at))
}

/// An acknowledged operation that fits.
fn an_op(
    history: &History,
    rng: &mut SmallRng,
    fits: impl Fn(&Request, &Response) -> bool,
) -> Option<OpId> {
    let fitting = history.ops.iter().enumerate().filter(|(_, op)| {
        let answer = op.outcome.answer();
        answer.is_some_and(|answer| fits(&op.request, &answer.body))
    });
    choose(rng, fitting.map(|(id, _)| OpId(id)).collect())
}

fn answer(history: &mut History, op: OpId) -> &mut cairn_history::Answer {
    match &mut history.ops[op.0].outcome {
        Outcome::Ok(answer) => answer,
        other => panic!("{other}"),
    }
}

/// A key-value that a read returned.
fn a_read_kv<'a>(history: &'a mut History, rng: &mut SmallRng) -> Option<&'a mut KeyValue> {
    let op = an_op(
        history,
        rng,
        |_, body| matches!(body, Response::Range(range) if !range.kvs.is_empty()),
    )?;
    match &mut answer(history, op).body {
        Response::Range(range) => {
            let at = rng.random_range(0..range.kvs.len());
            range.kvs.get_mut(at)
        }
        _ => None,
    }
}

fn a_value_nobody_wrote(history: &mut History, rng: &mut SmallRng) -> Option<&'static [Rule]> {
    a_read_kv(history, rng)?.value = "nobody's".into();
    Some(READS)
}

fn another_version(history: &mut History, rng: &mut SmallRng) -> Option<&'static [Rule]> {
    a_read_kv(history, rng)?.version += 1;
    Some(READS)
}

fn another_mod_revision(history: &mut History, rng: &mut SmallRng) -> Option<&'static [Rule]> {
    a_read_kv(history, rng)?.mod_revision.0 -= 1;
    Some(READS)
}

fn another_create_revision(history: &mut History, rng: &mut SmallRng) -> Option<&'static [Rule]> {
    a_read_kv(history, rng)?.create_revision.0 -= 1;
    Some(READS)
}

fn a_key_left_out_of_a_read(history: &mut History, rng: &mut SmallRng) -> Option<&'static [Rule]> {
    let op = an_op(
        history,
        rng,
        |_, body| matches!(body, Response::Range(range) if !range.kvs.is_empty()),
    )?;
    if let Response::Range(range) = &mut answer(history, op).body {
        range.kvs.pop();
        range.count -= 1;
    }
    Some(READS)
}

fn a_count_too_high(history: &mut History, rng: &mut SmallRng) -> Option<&'static [Rule]> {
    let op = an_op(history, rng, |_, body| matches!(body, Response::Range(_)))?;
    if let Response::Range(range) = &mut answer(history, op).body {
        range.count += 1;
    }
    Some(READS)
}

fn a_deletion_of_more(history: &mut History, rng: &mut SmallRng) -> Option<&'static [Rule]> {
    let op = an_op(
        history,
        rng,
        |_, body| matches!(body, Response::DeleteRange(done) if done.deleted > 0),
    )?;
    if let Response::DeleteRange(done) = &mut answer(history, op).body {
        done.deleted += 1;
    }
    Some(WRITES)
}

fn a_previous_version_of_others(
    history: &mut History,
    rng: &mut SmallRng,
) -> Option<&'static [Rule]> {
    let op = an_op(history, rng, |_, body| {
        matches!(body, Response::Put(Some(_)))
    })?;
    if let Response::Put(Some(prev)) = &mut answer(history, op).body {
        prev.value = "nobody's".into();
    }
    Some(WRITES)
}

fn the_other_branch(history: &mut History, rng: &mut SmallRng) -> Option<&'static [Rule]> {
    let op = an_op(history, rng, |_, body| matches!(body, Response::Txn(_)))?;
    if let Response::Txn(done) = &mut answer(history, op).body {
        done.succeeded = !done.succeeded;
    }
    Some(&[Rule::StrictlySerializable, Rule::WellFormed])
}

/// An acknowledged put of a value that nobody else writes.
fn a_put(history: &History, rng: &mut SmallRng) -> Option<OpId> {
    an_op(
        history,
        rng,
        |request, _| matches!(request, Request::Put(put) if put.value != "same".into()),
    )
}

fn a_write_of_anothers_revision(
    history: &mut History,
    rng: &mut SmallRng,
) -> Option<&'static [Rule]> {
    let (one, other) = (a_put(history, rng)?, a_put(history, rng)?);
    if one == other {
        return None;
    }
    answer(history, one).revision = answer(history, other).revision;
    Some(GONE)
}

fn writes_the_other_way_around(
    history: &mut History,
    rng: &mut SmallRng,
) -> Option<&'static [Rule]> {
    let (one, other) = (a_put(history, rng)?, a_put(history, rng)?);
    if one == other {
        return None;
    }
    let revision = answer(history, other).revision;
    let revision = std::mem::replace(&mut answer(history, one).revision, revision);
    answer(history, other).revision = revision;
    Some(GONE)
}

fn a_write_refused_and_yet_done(
    history: &mut History,
    rng: &mut SmallRng,
) -> Option<&'static [Rule]> {
    let op = a_put(history, rng)?;
    let at = history.ops[op.0].outcome.at();
    let why = Refusal::Other("no".to_owned());
    history.ops[op.0].outcome = Outcome::Refused { at, why };
    Some(GONE)
}

fn a_write_nobody_called(history: &mut History, rng: &mut SmallRng) -> Option<&'static [Rule]> {
    let op = a_put(history, rng)?;
    history.ops.remove(op.0);
    Some(GONE)
}

fn a_read_long_after_its_revision(
    history: &mut History,
    rng: &mut SmallRng,
) -> Option<&'static [Rule]> {
    let newest = history.ops.iter().filter_map(|op| op.outcome.answer());
    let (revision, at) = newest.filter_map(|it| Some((it.revision?, it.at))).max()?;
    let reads = history.ops.iter().enumerate().filter(|(_, op)| {
        let is_current = matches!(&op.request, Request::Range(range) if !range.serializable);
        let seen = op.outcome.answer().and_then(|answer| answer.revision);
        is_current && seen.is_some_and(|seen| seen < revision)
    });
    let op = choose(rng, reads.map(|(id, _)| OpId(id)).collect())?;
    history.ops[op.0].call = Time(at.0 + 1);
    answer(history, op).at = Time(at.0 + 2);
    Some(&[Rule::StrictlySerializable])
}

fn a_member_that_lags_in_the_end(
    history: &mut History,
    rng: &mut SmallRng,
) -> Option<&'static [Rule]> {
    let settled = history.settled?;
    let op = history.ops.iter().enumerate().filter(|(_, op)| {
        let is_old = matches!(&op.request, Request::Range(range) if range.serializable);
        op.call > settled && is_old
    });
    let op = choose(rng, op.map(|(id, _)| OpId(id)).collect())?;
    let answer = answer(history, op);
    answer.revision = answer.revision.map(|it| Revision(it.0 - 1));
    Some(&[Rule::Durable])
}

/// The watcher of everything.
const AUDITOR: WatchId = WatchId(0);

fn responses(history: &mut History) -> &mut Vec<WatchResponse> {
    &mut history.watches[AUDITOR.0].responses
}

/// One of the auditor's responses with events that fit, and they.
fn some_events<'a>(
    history: &'a mut History,
    rng: &mut SmallRng,
    fits: impl Fn(&[Event]) -> bool,
) -> Option<(usize, &'a mut Vec<Event>)> {
    let responses = responses(history);
    let fitting = responses.iter().enumerate().filter(
        |(_, response)| matches!(&response.says, WatchSays::Events { events, .. } if fits(events)),
    );
    let at = choose(rng, fitting.map(|(at, _)| at).collect())?;
    match &mut responses[at].says {
        WatchSays::Events { events, .. } => Some((at, events)),
        _ => None,
    }
}

const MISSING: &[Rule] = &[
    Rule::Reliable,
    Rule::Atomic,
    Rule::Resumable,
    Rule::Bookmarkable,
];

fn an_event_left_out(history: &mut History, rng: &mut SmallRng) -> Option<&'static [Rule]> {
    let (_, events) = some_events(history, rng, |events| events.len() > 1)?;
    let at = rng.random_range(0..events.len());
    events.remove(at);
    Some(MISSING)
}

fn a_response_left_out(history: &mut History, rng: &mut SmallRng) -> Option<&'static [Rule]> {
    let (at, _) = some_events(history, rng, |_| true)?;
    responses(history).remove(at);
    Some(MISSING)
}

fn an_event_twice(history: &mut History, rng: &mut SmallRng) -> Option<&'static [Rule]> {
    let (_, events) = some_events(history, rng, |_| true)?;
    let at = rng.random_range(0..events.len());
    events.push(events[at].clone());
    Some(&[Rule::Unique])
}

fn a_response_twice(history: &mut History, rng: &mut SmallRng) -> Option<&'static [Rule]> {
    let (at, _) = some_events(history, rng, |_| true)?;
    let again = responses(history)[at].clone();
    responses(history).insert(at + 1, again);
    Some(&[Rule::Unique])
}

fn revisions(events: &[Event]) -> (Revision, Revision) {
    let first = events.first().unwrap().kv.mod_revision;
    (first, events.last().unwrap().kv.mod_revision)
}

fn events_the_other_way_around(
    history: &mut History,
    rng: &mut SmallRng,
) -> Option<&'static [Rule]> {
    let (_, events) = some_events(history, rng, |events| {
        let (first, last) = revisions(events);
        first != last
    })?;
    events.reverse();
    Some(&[Rule::Ordered])
}

fn a_torn_revision(history: &mut History, rng: &mut SmallRng) -> Option<&'static [Rule]> {
    let torn = |events: &[Event]| {
        let pairs = events.windows(2);
        pairs
            .enumerate()
            .find(|(_, pair)| pair[0].kv.mod_revision == pair[1].kv.mod_revision)
            .map(|(at, _)| at + 1)
    };
    let (at, events) = some_events(history, rng, |events| torn(events).is_some())?;
    let place = torn(events)?;
    let events = events.split_off(place);
    let mut second = responses(history)[at].clone();
    let fragment = false;
    second.says = WatchSays::Events { events, fragment };
    responses(history).insert(at + 1, second);
    Some(&[Rule::Atomic])
}

fn progress_too_early(history: &mut History, rng: &mut SmallRng) -> Option<&'static [Rule]> {
    let (at, events) = some_events(history, rng, |_| true)?;
    let revision = revisions(events).1;
    let progress = WatchResponse {
        at: responses(history)[at].at,
        revision,
        says: WatchSays::Progress,
    };
    responses(history).insert(at, progress);
    Some(&[Rule::Bookmarkable])
}

fn another_value_in_an_event(history: &mut History, rng: &mut SmallRng) -> Option<&'static [Rule]> {
    let (_, events) = some_events(history, rng, |events| {
        events.iter().any(|it| it.kind == EventKind::Put)
    })?;
    let event = events.iter_mut().find(|it| it.kind == EventKind::Put)?;
    event.kv.value = "nobody's".into();
    // Of a write whose outcome nobody knows, the event is all that tells.
    Some(GONE)
}

fn a_write_as_a_deletion(history: &mut History, rng: &mut SmallRng) -> Option<&'static [Rule]> {
    let (_, events) = some_events(history, rng, |events| {
        events.iter().any(|it| it.kind == EventKind::Put)
    })?;
    let event = events.iter_mut().find(|it| it.kind == EventKind::Put)?;
    event.kind = EventKind::Delete;
    Some(GONE)
}

fn a_stale_previous_version(history: &mut History, rng: &mut SmallRng) -> Option<&'static [Rule]> {
    let (_, events) = some_events(history, rng, |events| {
        events.iter().any(|it| it.prev_kv.is_some())
    })?;
    let event = events.iter_mut().find(|it| it.prev_kv.is_some())?;
    event.prev_kv.as_mut()?.value = "nobody's".into();
    Some(&[Rule::PrevKv])
}

fn no_previous_version(history: &mut History, rng: &mut SmallRng) -> Option<&'static [Rule]> {
    let (_, events) = some_events(history, rng, |events| {
        events.iter().any(|it| it.prev_kv.is_some())
    })?;
    events.iter_mut().find(|it| it.prev_kv.is_some())?.prev_kv = None;
    Some(&[Rule::PrevKv])
}

fn an_event_before_the_start(history: &mut History, rng: &mut SmallRng) -> Option<&'static [Rule]> {
    let (_, events) = some_events(history, rng, |_| true)?;
    let revision = revisions(events).1;
    history.watches[AUDITOR.0].request.start = Some(Revision(revision.0 + 1));
    Some(&[Rule::Resumable])
}

fn a_stream_that_goes_back(history: &mut History, rng: &mut SmallRng) -> Option<&'static [Rule]> {
    let (at, events) = some_events(history, rng, |_| true)?;
    let revision = revisions(events).0;
    let says = WatchSays::Progress;
    let at_time = responses(history)[at].at;
    let progress = WatchResponse {
        at: at_time,
        revision: Revision(revision.0 - 1),
        says,
    };
    responses(history).insert(at + 1, progress);
    Some(&[Rule::NeverBack])
}

fn an_event_of_another_range(history: &mut History, rng: &mut SmallRng) -> Option<&'static [Rule]> {
    let (_, events) = some_events(history, rng, |_| true)?;
    let key = events.first()?.kv.key.clone();
    history.watches[AUDITOR.0].request.range = cairn_history::KeyRange::One(key.clone());
    let mut all = history.watches[AUDITOR.0].events();
    all.any(|(_, event)| event.kv.key != key)
        .then_some(&[Rule::Filtered])
}

const MUTATIONS: &[(&str, Mutation)] = &[
    ("a value nobody wrote", a_value_nobody_wrote),
    ("another version", another_version),
    ("another mod revision", another_mod_revision),
    ("another create revision", another_create_revision),
    ("a key left out of a read", a_key_left_out_of_a_read),
    ("a count too high", a_count_too_high),
    ("a deletion of more", a_deletion_of_more),
    ("a previous version of others", a_previous_version_of_others),
    ("the other branch", the_other_branch),
    (
        "a write of another's revision",
        a_write_of_anothers_revision,
    ),
    ("writes the other way around", writes_the_other_way_around),
    ("a write refused and yet done", a_write_refused_and_yet_done),
    ("a write nobody called", a_write_nobody_called),
    ("a read long after", a_read_long_after_its_revision),
    (
        "a member that lags in the end",
        a_member_that_lags_in_the_end,
    ),
    ("an event left out", an_event_left_out),
    ("a response left out", a_response_left_out),
    ("an event twice", an_event_twice),
    ("a response twice", a_response_twice),
    ("events the other way around", events_the_other_way_around),
    ("a torn revision", a_torn_revision),
    ("progress too early", progress_too_early),
    ("another value in an event", another_value_in_an_event),
    ("a write as a deletion", a_write_as_a_deletion),
    ("a stale previous version", a_stale_previous_version),
    ("no previous version", no_previous_version),
    ("an event before the start", an_event_before_the_start),
    ("a stream that goes back", a_stream_that_goes_back),
    ("an event of another range", an_event_of_another_range),
];

/// Histories that each mutation is tried on.
const SEEDS: u64 = 40;

#[test]
fn every_single_mutation_is_found() {
    let size = Size {
        audited: true,
        ..SMALL
    };
    let mut tried = vec![0; MUTATIONS.len()];
    for seed in 0..SEEDS {
        let correct = history(seed, size);
        let verdict = check(&correct, &Limits::default());
        assert!(verdict.is_clean(), "seed {seed}: {verdict}");
        for (at, (name, mutate)) in MUTATIONS.iter().enumerate() {
            let mut history = correct.clone();
            let mut rng = SmallRng::seed_from_u64(seed);
            let Some(rules) = mutate(&mut history, &mut rng) else {
                continue;
            };
            tried[at] += 1;
            let verdict = check(&history, &Limits::default());
            let is_found = rules.iter().any(|rule| verdict.breaks(*rule));
            assert!(is_found, "seed {seed}, {name}, not {rules:?}:\n{verdict}");
        }
    }
    for (tried, (name, _)) in tried.iter().zip(MUTATIONS) {
        assert!(
            *tried >= SEEDS / 4,
            "{name}: tried on {tried} histories only"
        );
    }
}
