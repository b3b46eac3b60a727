//! What one watcher heard, by itself: order, uniqueness, whole revisions, progress, filters.

use std::collections::BTreeMap;

use super::Watcher;
use crate::check::evidence::{first_revision, in_range};
use crate::verdict::Rule;
use crate::{Data, Event, EventKind, Revision, WatchResponse, WatchSays};

/// What the watcher was told so far.
#[derive(Default)]
struct Heard {
    /// The response that said so.
    created: Option<usize>,
    canceled: Option<usize>,
    /// The highest revision of a header.
    revision: Option<(Revision, usize)>,
    progress: Option<(Revision, usize)>,
    last: Option<(Revision, usize)>,
    /// Each change and where it came.
    events: BTreeMap<(Revision, Data), usize>,
    /// The response that the fragments now coming began with.
    group: Option<usize>,
    is_in_order: bool,
}

/// Checks it. Whether events came in order and once, so that their content can be looked at.
pub(super) fn check(watcher: &mut Watcher<'_>) -> bool {
    let mut heard = Heard {
        is_in_order: true,
        ..Heard::default()
    };
    let watch = watcher.watch;
    for (at, response) in watch.responses.iter().enumerate() {
        hear(watcher, &mut heard, at, response);
    }
    heard.is_in_order
}

fn hear(watcher: &mut Watcher<'_>, heard: &mut Heard, at: usize, response: &WatchResponse) {
    if let Some(canceled) = heard.canceled {
        watcher.wrong(
            Rule::WellFormed,
            &[canceled, at],
            "heard something after it was canceled",
        );
    }
    if let Some((before, by)) = heard.revision
        && response.revision < before
        && !matches!(response.says, WatchSays::Canceled { .. })
    {
        let text = format!(
            "the revision went back from {before} to {}",
            response.revision
        );
        watcher.wrong(Rule::NeverBack, &[by, at], &text);
    } else {
        heard.revision = Some((response.revision, at));
    }
    match &response.says {
        WatchSays::Created => {
            if let Some(before) = heard.created.replace(at) {
                watcher.wrong(Rule::WellFormed, &[before, at], "was created twice");
            }
        }
        WatchSays::Progress => {
            if heard.created.is_none() {
                watcher.wrong(
                    Rule::WellFormed,
                    &[at],
                    "heard of progress before it was created",
                );
            }
            heard.progress = heard.progress.max(Some((response.revision, at)));
        }
        WatchSays::Canceled { compacted, .. } => {
            heard.canceled = Some(at);
            if let Some(compacted) = compacted {
                check_canceled(watcher, heard, at, *compacted);
            }
        }
        WatchSays::Events { events, fragment } => {
            if heard.created.is_none() {
                watcher.wrong(
                    Rule::WellFormed,
                    &[at],
                    "heard events before it was created",
                );
            }
            let group = *heard.group.get_or_insert(at);
            for event in events {
                hear_event(watcher, heard, (group, at), event);
            }
            if !fragment {
                heard.group = None;
            }
        }
    }
}

/// Looks at one event. `group` is the first response of its fragments, `at` its own.
fn hear_event(
    watcher: &mut Watcher<'_>,
    heard: &mut Heard,
    (group, at): (usize, usize),
    event: &Event,
) {
    check_alone(watcher, at, event);
    let revision = event.kv.mod_revision;
    if let Some((progress, by)) = heard.progress
        && revision <= progress
    {
        let text = format!("was told that all up to {progress} was sent, and then heard `{event}`");
        watcher.wrong(Rule::Bookmarkable, &[by, at], &text);
    }
    let change = (revision, event.kv.key.clone());
    if let Some(before) = heard.events.insert(change, at) {
        heard.is_in_order = false;
        let text = format!("heard twice: `{event}`");
        watcher.wrong(Rule::Unique, &[before, at], &text);
        return;
    }
    match heard.last {
        Some((last, by)) if revision < last => {
            heard.is_in_order = false;
            let text = format!("heard `{event}` after an event of revision {last}");
            watcher.wrong(Rule::Ordered, &[by, at], &text);
        }
        Some((last, by)) if revision == last && by < group => {
            let text = format!("revision {revision} came in two responses");
            watcher.wrong(Rule::Atomic, &[by, at], &text);
        }
        _ => heard.last = Some((revision, at)),
    }
}

/// What one event says, whatever the others say.
fn check_alone(watcher: &mut Watcher<'_>, at: usize, event: &Event) {
    let request = &watcher.watch.request;
    let filtered = match event.kind {
        EventKind::Put => request.no_put,
        EventKind::Delete => request.no_delete,
    };
    if filtered || !in_range(&request.range, event) {
        let text = format!("did not ask for `{event}`");
        watcher.wrong(Rule::Filtered, &[at], &text);
    }
    let kv = &event.kv;
    if let Some(first) = first_revision(watcher.watch)
        && kv.mod_revision < first
    {
        let text = format!("is to hear from revision {first} on, but heard `{event}`");
        watcher.wrong(Rule::Resumable, &[at], &text);
    }
    if event.prev_kv.is_some() && !request.prev_kv {
        let text = format!("did not ask for the version before, but heard it with `{event}`");
        watcher.wrong(Rule::PrevKv, &[at], &text);
    }
    let is_created = kv.create_revision == kv.mod_revision;
    if event.kind == EventKind::Put
        && (is_created != (kv.version == 1) || kv.create_revision > kv.mod_revision)
    {
        let text = format!("created or modified? `{event}`");
        watcher.wrong(Rule::EventContent, &[at], &text);
    }
    let header = watcher.watch.responses.get(at).map(|it| it.revision);
    if header.is_some_and(|header| header < kv.mod_revision) {
        let text = format!("heard `{event}` under a header of an older revision");
        watcher.wrong(Rule::WellFormed, &[at], &text);
    }
}

fn check_canceled(watcher: &mut Watcher<'_>, heard: &Heard, at: usize, compacted: Revision) {
    let by = watcher.watch.responses.get(at).map(|it| it.at);
    let by = by.unwrap_or_default();
    if !watcher.compactions.may_have_been(compacted, by) {
        let text = format!("was canceled for a compaction at {compacted} that nobody asked for");
        watcher.wrong(Rule::CanceledRightly, &[at], &text);
    }
    let heard_last = heard.last.max(heard.progress).map(|(it, _)| it.next());
    let next = first_revision(watcher.watch).max(heard_last);
    if let Some(next) = next.filter(|next| *next >= compacted) {
        let text = format!(
            "needs revision {next} next, but was canceled because history below {compacted} is gone"
        );
        watcher.wrong(Rule::CanceledRightly, &[at], &text);
    }
}
