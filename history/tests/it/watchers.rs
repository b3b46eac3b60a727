//! Promises to watchers, each broken once.

use cairn_history::{
    DeleteResponse, Event, KeyRange, Request, Response, Revision, Rule, WatchId, WatchRequest,
    WatchSays,
};

use crate::story::{Story, delete_event, found, kv, put_event, time};

/// Writes a=1, a=2, b=3 in revisions 2 to 4, and what a watcher of all heard.
fn three_writes() -> (Story, Vec<Event>) {
    let mut story = Story::default();
    story.put((1, 2), "a", "1", 2);
    story.put((3, 4), "a", "2", 3);
    story.put((5, 6), "b", "3", 4);
    let events = vec![
        put_event(kv("a", "1", (2, 2, 1)), None),
        put_event(kv("a", "2", (2, 3, 2)), None),
        put_event(kv("b", "3", (4, 4, 1)), None),
    ];
    (story, events)
}

fn watched(request: WatchRequest) -> (Story, WatchId, Vec<Event>) {
    let (mut story, events) = three_writes();
    let watch = story.watch(request);
    (story, watch, events)
}

fn from(revision: i64) -> WatchRequest {
    WatchRequest {
        start: Some(Revision(revision)),
        ..WatchRequest::new(KeyRange::all())
    }
}

#[test]
fn all_events_in_any_batches_are_fine() {
    let (mut story, watch, events) = watched(from(1));
    story.events(watch, 7, events[..2].to_vec());
    story.hear(watch, 8, 3, WatchSays::Progress);
    story.events(watch, 9, events[2..].to_vec());
    story.hear(watch, 10, 4, WatchSays::Progress);
    story.history.settled = Some(time(11));
    story.passes();
}

#[test]
fn ordered_an_older_revision_does_not_come_later() {
    let (mut story, watch, events) = watched(from(1));
    let swapped = vec![events[1].clone(), events[0].clone(), events[2].clone()];
    story.events(watch, 7, swapped);
    story.breaks(Rule::Ordered, "after an event of revision 3");
}

#[test]
fn unique_no_event_comes_twice() {
    let (mut story, watch, events) = watched(from(1));
    story.events(watch, 7, events[..1].to_vec());
    story.events(watch, 8, events.clone());
    story.breaks(Rule::Unique, "heard twice: `put a=1");
}

#[test]
fn reliable_nothing_is_left_out() {
    let (mut story, watch, events) = watched(from(1));
    story.events(watch, 7, events[..1].to_vec());
    story.events(watch, 8, events[2..].to_vec());
    story.breaks(Rule::Reliable, "never heard `put a=2");
}

#[test]
fn reliable_in_the_end_everything_comes() {
    let (mut story, watch, events) = watched(from(1));
    story.events(watch, 7, events[..2].to_vec());
    story.passes();
    story.history.settled = Some(time(8));
    story.breaks(Rule::Reliable, "never heard `put b=3");
}

/// A transaction that writes a and b in revision 2.
fn one_txn() -> (Story, Vec<Event>) {
    use cairn_history::{PutRequest, TxnOp, TxnOpResponse, TxnRequest, TxnResponse};
    let mut story = Story::default();
    let put = |key| TxnOp::Put(PutRequest::new(key, "1"));
    let txn = TxnRequest {
        success: vec![put("a"), put("b")],
        ..TxnRequest::default()
    };
    let done = TxnResponse {
        succeeded: true,
        responses: vec![TxnOpResponse::Put(None), TxnOpResponse::Put(None)],
    };
    story.done(0, (1, 2), Request::Txn(txn), (2, Response::Txn(done)));
    let event = |key| put_event(kv(key, "1", (2, 2, 1)), None);
    (story, vec![event("a"), event("b")])
}

#[test]
fn atomic_a_revision_comes_together() {
    let (mut story, events) = one_txn();
    let watch = story.watch(from(1));
    story.events(watch, 3, events[..1].to_vec());
    story.events(watch, 4, events[1..].to_vec());
    story.breaks(Rule::Atomic, "revision 2 came in two responses");
}

#[test]
fn atomic_a_revision_comes_whole() {
    let (mut story, events) = one_txn();
    let watch = story.watch(from(1));
    story.events(watch, 3, events[..1].to_vec());
    story.breaks(
        Rule::Atomic,
        "heard a part of its revision only, without `put b=1",
    );
}

#[test]
fn atomic_fragments_are_one_response() {
    let (mut story, events) = one_txn();
    let watch = story.watch(from(1));
    let (first, rest) = (events[..1].to_vec(), events[1..].to_vec());
    let (fragment, events) = (true, first);
    story.hear(watch, 3, 2, WatchSays::Events { events, fragment });
    story.events(watch, 4, rest);
    story.passes();
}

#[test]
fn ordered_within_a_revision_operations_keep_their_order() {
    let (mut story, mut events) = one_txn();
    let watch = story.watch(from(1));
    events.reverse();
    story.events(watch, 3, events);
    story.breaks(Rule::Ordered, "too late among those of its revision");
}

#[test]
fn resumable_from_its_revision_on_and_not_before() {
    let (mut story, watch, events) = watched(from(3));
    story.events(watch, 7, events.clone());
    story.breaks(
        Rule::Resumable,
        "is to hear from revision 3 on, but heard `put a=1",
    );

    let (mut story, watch, events) = watched(from(3));
    story.events(watch, 7, events[2..].to_vec());
    story.breaks(
        Rule::Resumable,
        "asked for its revision, but never heard `put a=2",
    );
}

#[test]
fn a_watcher_of_the_future_hears_nothing_of_the_past() {
    let (mut story, watch, events) = watched(from(4));
    story.events(watch, 7, events[1..].to_vec());
    story.breaks(Rule::Resumable, "is to hear from revision 4 on");
}

#[test]
fn a_watcher_without_a_start_hears_what_comes_after_its_creation() {
    let (mut story, events) = three_writes();
    let request = WatchRequest::new(KeyRange::all());
    let member = cairn_history::MemberId(0);
    let client = cairn_history::ClientId(9);
    let watch = story.history.watch(client, member, time(4), request);
    story.hear(watch, 5, 3, WatchSays::Created);
    story.events(watch, 7, events[2..].to_vec());
    story.passes();
    story.hear(watch, 8, 5, WatchSays::Progress);
    story.put((5, 6), "b", "4", 5);
    story.breaks(Rule::Bookmarkable, "but never heard `put b=4");
}

#[test]
fn bookmarkable_progress_does_not_overtake_events() {
    let (mut story, watch, events) = watched(from(1));
    story.hear(watch, 6, 4, WatchSays::Progress);
    story.events(watch, 7, events);
    story.breaks(
        Rule::Bookmarkable,
        "was told that all up to 4 was sent, and then heard",
    );
}

#[test]
fn the_revision_of_a_stream_does_not_go_back() {
    let (mut story, watch, _) = watched(from(9));
    story.hear(watch, 6, 4, WatchSays::Progress);
    story.hear(watch, 7, 3, WatchSays::Progress);
    story.breaks(Rule::NeverBack, "the revision went back from 4 to 3");
}

#[test]
fn previous_versions_are_those_before() {
    let request = WatchRequest {
        prev_kv: true,
        ..from(1)
    };
    let (mut story, watch, mut events) = watched(request.clone());
    events[1].prev_kv = Some(events[0].kv.clone());
    story.events(watch, 7, events.clone());
    story.passes();

    let (mut story, watch, mut wrong) = watched(request.clone());
    wrong[1].prev_kv = Some(kv("a", "0", (2, 2, 1)));
    story.events(watch, 7, wrong);
    story.breaks(Rule::PrevKv, "but before it was `a=1");

    let (mut story, watch, without) = watched(request);
    story.events(watch, 7, without.clone());
    story.breaks(Rule::PrevKv, "with `nothing` before it");

    // Compacted, it cannot be had.
    story.done(
        0,
        (6, 7),
        Request::Compact(Revision(3)),
        (4, Response::Done),
    );
    story.passes();

    let (mut story, watch, _) = watched(from(1));
    story.events(watch, 7, events);
    story.breaks(Rule::PrevKv, "did not ask for the version before");
}

#[test]
fn events_say_what_was_written_and_whether_it_was_created() {
    let (mut story, watch, mut events) = watched(from(1));
    events[1].kv.value = "other".into();
    story.events(watch, 7, events);
    story.breaks(Rule::EventContent, "but it was `put a=2");

    let (mut story, watch, mut events) = watched(from(1));
    events[1].kv.create_revision = Revision(3);
    story.events(watch, 7, events);
    story.breaks(Rule::EventContent, "created or modified?");

    let (mut story, watch, mut events) = watched(from(1));
    events[1] = delete_event("a", 3);
    story.events(watch, 7, events);
    story.breaks(
        Rule::EventContent,
        "heard `delete a at 3`, but it was `put a=2",
    );
}

#[test]
fn nothing_comes_that_nobody_asked_for() {
    let one = WatchRequest {
        range: KeyRange::One("a".into()),
        ..from(1)
    };
    let (mut story, watch, events) = watched(one);
    story.events(watch, 7, events);
    story.breaks(Rule::Filtered, "did not ask for `put b=3");

    let no_put = WatchRequest {
        no_put: true,
        ..from(1)
    };
    let (mut story, watch, events) = watched(no_put);
    story.events(watch, 7, events[..1].to_vec());
    story.breaks(Rule::Filtered, "did not ask for `put a=1");
}

#[test]
fn a_filtered_watcher_lacks_nothing() {
    let request = WatchRequest {
        no_put: true,
        ..from(1)
    };
    let (mut story, watch, _) = watched(request);
    story.hear(watch, 7, 4, WatchSays::Progress);
    story.passes();
}

#[test]
fn a_watcher_is_canceled_only_for_what_is_gone() {
    let canceled = |compacted| WatchSays::Canceled {
        compacted: Some(Revision(compacted)),
        reason: String::new(),
    };
    let (mut story, watch, _) = watched(from(2));
    story.hear(watch, 8, 4, canceled(3));
    story.breaks(
        Rule::CanceledRightly,
        "a compaction at 3 that nobody asked for",
    );
    story.done(
        0,
        (6, 7),
        Request::Compact(Revision(3)),
        (4, Response::Done),
    );
    story.passes();

    let (mut story, watch, events) = watched(from(2));
    story.done(
        0,
        (6, 7),
        Request::Compact(Revision(3)),
        (4, Response::Done),
    );
    story.events(watch, 7, events[..2].to_vec());
    story.hear(watch, 8, 4, canceled(3));
    story.breaks(Rule::CanceledRightly, "needs revision 4 next");
}

#[test]
fn a_stream_begins_with_creation_and_ends_with_cancelation() {
    let (mut story, watch, events) = watched(from(1));
    let reason = "closed".to_owned();
    let compacted = None;
    story.hear(watch, 6, 4, WatchSays::Canceled { compacted, reason });
    story.events(watch, 7, events.clone());
    story.breaks(Rule::WellFormed, "heard something after it was canceled");

    let (mut story, _) = three_writes();
    let client = cairn_history::ClientId(9);
    let member = cairn_history::MemberId(0);
    let watch = story.history.watch(client, member, time(0), from(1));
    story.events(watch, 7, events);
    story.breaks(Rule::WellFormed, "heard events before it was created");
}

#[test]
fn watchers_may_not_hear_of_what_never_was() {
    let (mut story, watch, mut events) = watched(from(1));
    events.push(put_event(kv("c", "4", (5, 5, 1)), None));
    story.events(watch, 7, events);
    story.get((8, 9), "c", 4, vec![]);
    let verdict = story.check();
    assert!(!verdict.is_clean());
    let text = verdict.to_string();
    assert!(text.contains("nobody can have made revision 5"), "{text}");
    assert_eq!(found(vec![]).to_string(), "nothing of 0");
}

#[test]
fn who_wrote_between_must_have_left_the_version_that_an_event_found() {
    let mut story = Story::default();
    story.put((1, 2), "a", "1", 2);
    // One of these made revision 3, and nobody was told which.
    story.call(1, 3, Request::put("a", "lost"));
    story.call(2, 3, Request::put("b", "lost"));
    let deleted = Response::DeleteRange(DeleteResponse {
        deleted: 1,
        prev_kvs: Vec::new(),
    });
    story.done(0, (4, 5), Request::delete("a"), (4, deleted));
    let watch = story.watch(WatchRequest {
        start: Some(Revision(4)),
        prev_kv: true,
        ..WatchRequest::new(KeyRange::all())
    });
    let mut event = delete_event("a", 4);
    event.prev_kv = Some(kv("a", "1", (2, 2, 1)));
    story.events(watch, 6, vec![event]);
    story.passes();
}

#[test]
fn who_wrote_between_must_have_left_the_version_that_an_event_counts_on() {
    let mut story = Story::default();
    story.put((1, 2), "a", "1", 2);
    // One of these made revision 3, and nobody was told which.
    story.call(1, 3, Request::put("a", "lost"));
    story.call(2, 3, Request::put("b", "lost"));
    story.put((4, 5), "a", "2", 4);
    let watch = story.watch(WatchRequest {
        start: Some(Revision(4)),
        ..WatchRequest::new(KeyRange::all())
    });
    story.events(watch, 6, vec![put_event(kv("a", "2", (2, 4, 2)), None)]);
    story.passes();
    // A later one that only tells of this version says as much.
    let later = |prev| {
        let mut story = story.clone();
        if let Some(watch) = story.history.watches.first_mut() {
            watch.request.start = Some(Revision(5));
            watch.request.prev_kv = true;
            watch.responses.truncate(1);
        }
        story.put((6, 7), "a", "3", 5);
        let event = put_event(kv("a", "3", (2, 5, 3)), Some(prev));
        story.events(watch, 8, vec![event]);
        story
    };
    later(kv("a", "2", (2, 4, 2))).passes();
    later(kv("a", "2", (2, 4, 1))).breaks(Rule::PrevKv, "before it");
}
