//! What one watcher heard, beside the order of all writes: nothing left out, nothing made up.

use std::collections::BTreeMap;

use super::Watcher;
use crate::check::evidence::{first_revision, heard_through, is_due};
use crate::check::order::Order;
use crate::verdict::Rule;
use crate::{Data, Event, EventKind, Revision, WatchSays};

/// The events of one revision that were heard, by key, each with its response.
type HeardOf<'a> = Vec<(usize, &'a Event)>;

pub(super) fn check(watcher: &mut Watcher<'_>, order: &Order) {
    let watch = watcher.watch;
    let Some(first) = first_revision(watch) else {
        return;
    };
    let mut heard: BTreeMap<Revision, HeardOf<'_>> = BTreeMap::new();
    for (at, response) in watch.responses.iter().enumerate() {
        if let WatchSays::Events { events, .. } = &response.says {
            for event in events {
                let of = heard.entry(event.kv.mod_revision).or_default();
                of.push((at, event));
            }
        }
    }
    for (revision, events) in &heard {
        if let Some((at, event)) = events.first().filter(|_| order.made(*revision).is_none()) {
            let text = format!("heard of a revision that nobody made: `{event}`");
            watcher.wrong(Rule::EventContent, &[*at], &text);
        }
    }
    let through = heard_through(watch).max(due_through(watcher));
    // What was heard outside of what is due is looked at too.
    let first_heard = heard.keys().next().copied().unwrap_or(first);
    let last_heard = heard.keys().next_back().copied().max(through);
    for (revision, changes) in order.changes(first_heard.min(first), last_heard.unwrap_or(first)) {
        let due: Vec<&Event> = changes.iter().filter(|it| is_due(watch, it)).collect();
        let of = heard.get(&revision).map(Vec::as_slice).unwrap_or_default();
        compare(watcher, of, &due);
        if Some(revision) <= through && revision >= first && !due.is_empty() {
            check_missing(watcher, order, (revision, of), &due, &heard);
        }
    }
}

/// The last revision that a watcher must have heard of in the end, if all was healed then.
fn due_through(watcher: &Watcher<'_>) -> Option<Revision> {
    let settled = watcher.history.settled?;
    let watch = watcher.watch;
    let is_canceled = |says: &WatchSays| matches!(says, WatchSays::Canceled { .. });
    let ended = watch.ended.is_some_and(|ended| ended <= settled)
        || watch.call >= settled
        || watch.responses.iter().any(|it| is_canceled(&it.says));
    if ended {
        return None;
    }
    watcher.acknowledged
}

/// Compares what was heard of a revision with what it did.
fn compare(watcher: &mut Watcher<'_>, heard: &[(usize, &Event)], due: &[&Event]) {
    let place = |key: &Data| due.iter().position(|it| it.kv.key == *key);
    let mut last = None;
    for (at, event) in heard {
        let Some(place) = place(&event.kv.key) else {
            // What nobody asked for was found when it was looked at alone.
            if is_due(watcher.watch, event) {
                let text = format!("heard of a change that nobody made: `{event}`");
                watcher.wrong(Rule::EventContent, &[*at], &text);
            }
            continue;
        };
        if last.is_some_and(|last| place < last) {
            let text = format!("heard `{event}` too late among those of its revision");
            watcher.wrong(Rule::Ordered, &[*at], &text);
        }
        last = last.max(Some(place));
        let Some(model) = due.get(place) else {
            continue;
        };
        let same = match event.kind {
            EventKind::Put => event.kv == model.kv,
            EventKind::Delete => true,
        };
        if event.kind != model.kind || !same {
            let text = format!("heard `{event}`, but it was `{model}`");
            watcher.wrong(Rule::EventContent, &[*at], &text);
        }
        check_prev(watcher, *at, event, model);
    }
}

fn check_prev(watcher: &mut Watcher<'_>, at: usize, event: &Event, model: &Event) {
    if !watcher.watch.request.prev_kv || event.prev_kv == model.prev_kv {
        return;
    }
    let by = watcher.watch.responses.get(at).map(|it| it.at);
    let compactions = watcher.compactions;
    let may_be_gone = compactions.may_have_reached(event.kv.mod_revision, by.unwrap_or_default());
    if event.prev_kv.is_none() && may_be_gone {
        return;
    }
    let shown = |kv: &Option<crate::KeyValue>| match kv {
        Some(kv) => kv.to_string(),
        None => "nothing".to_owned(),
    };
    let text = format!(
        "heard `{event}` with `{}` before it, but before it was `{}`",
        shown(&event.prev_kv),
        shown(&model.prev_kv)
    );
    watcher.wrong(Rule::PrevKv, &[at], &text);
}

fn check_missing(
    watcher: &mut Watcher<'_>,
    order: &Order,
    (revision, heard): (Revision, &[(usize, &Event)]),
    due: &[&Event],
    all: &BTreeMap<Revision, HeardOf<'_>>,
) {
    let is_heard = |event: &Event| heard.iter().any(|(_, it)| it.kv.key == event.kv.key);
    let Some(missing) = due.iter().find(|it| !is_heard(it)) else {
        return;
    };
    let before = all.range(..revision).next_back();
    let after = all.range(revision.next()..).next();
    let progress = watcher
        .watch
        .responses
        .iter()
        .position(|it| it.says == WatchSays::Progress && it.revision >= revision);
    let (rule, text) = if !heard.is_empty() {
        (Rule::Atomic, "heard a part of its revision only, without")
    } else if let (None, Some(_)) = (after, progress) {
        (
            Rule::Bookmarkable,
            "was told that all up to its revision was sent, but never heard",
        )
    } else if before.is_none() && watcher.watch.request.start.is_some() {
        (Rule::Resumable, "asked for its revision, but never heard")
    } else {
        (Rule::Reliable, "never heard")
    };
    let around = [before, after].into_iter().flatten();
    let around = around.flat_map(|(_, events)| events.last().map(|(at, _)| *at));
    let mut responses: Vec<usize> = around.chain(heard.last().map(|(at, _)| *at)).collect();
    if rule == Rule::Bookmarkable {
        responses.extend(progress);
    }
    let concerned = watcher.concerned(&responses).ops(order.op(revision));
    watcher.wrong_with(rule, &concerned, &format!("{text} `{missing}`"));
}
