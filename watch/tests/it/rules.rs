//! The rules of creating, watching and ending, one by one.

use bytes::Bytes;
use cairn_proto::etcdserverpb::WatchCreateRequest;
use cairn_proto::etcdserverpb::watch_create_request::FilterType;
use cairn_watch::{
    CatchUp, Filters, Fragments, PrevKv, ProgressNotify, StreamId, WatchId, WatchRefusal,
    WatchRequest, WatchStart,
};

use crate::past::Write::{Delete, Put};
use crate::scene::{STREAM, Scene, request, request_from, revision, with_prev_kv};

#[test]
fn ids_count_from_zero_and_pass_over_those_that_clients_chose() {
    let mut scene = Scene::new();
    let chosen = |id| WatchRequest {
        id: Some(WatchId::new(id)),
        ..request("a", "")
    };
    scene.watch(chosen(1));
    scene.watch(request("a", ""));
    scene.watch(request("a", ""));
    assert_eq!(
        scene.hub.watch(STREAM, chosen(2)),
        Err(WatchRefusal::DuplicateId)
    );
    scene.put("a", 1);
    assert_eq!(
        scene.told(),
        [
            "created 1 @1",
            "created 0 @1",
            "created 2 @1",
            "refused: mvcc: duplicate watch ID provided on the WatchStream @1",
            "events 1 [a=1#2] @2",
            "events 0 [a=1#2] @2",
            "events 2 [a=1#2] @2",
        ]
    );
}

#[test]
fn a_range_without_keys_is_refused_and_disturbs_nobody() {
    let mut scene = Scene::new();
    assert_eq!(
        scene.hub.watch(STREAM, request("b", "a")),
        Err(WatchRefusal::EmptyRange)
    );
    assert_eq!(
        scene.hub.watch(STREAM, request("b", "b")),
        Err(WatchRefusal::EmptyRange)
    );
    let reason = "rpc error: code = PermissionDenied desc = etcdserver: permission denied";
    scene.hub.refuse(
        STREAM,
        WatchRefusal::Denied {
            reason: reason.to_owned(),
        },
    );
    scene.watch(request("b", ""));
    let empty = "refused: mvcc: watcher range is empty @1";
    let denied = format!("refused: {reason} @1");
    assert_eq!(scene.told(), [empty, empty, &denied, "created 0 @1"]);
}

#[test]
fn a_watcher_from_now_on_gets_nothing_that_the_store_had_when_it_came() {
    let mut scene = Scene::new();
    let changes = scene.past.write(&[Put("a", 1)]);
    scene.watch(request("a", ""));
    // The hub hears of it only now.
    scene.notify(&changes);
    scene.put("a", 2);
    assert_eq!(scene.told(), ["created 0 @2", "events 0 [a=2#3] @3"]);
}

#[test]
fn a_watcher_from_the_past_gets_it_whole_and_then_the_present() {
    let mut scene = Scene::new();
    scene.put("a", 1);
    scene.txn(&[Put("b", 2), Delete("a"), Put("c", 3)]);
    scene.put("z", 4);
    scene.watch(with_prev_kv(request_from("a", "d", 2)));
    scene.catch_up();
    scene.put("b", 5);
    assert_eq!(
        scene.told(),
        [
            "created 0 @4",
            "events 0 [a=1#2, b=2#3, -a#3/a=1, c=3#3] @4",
            "events 0 [b=5#5/b=2] @5",
        ]
    );
}

#[test]
fn a_watcher_that_caught_up_with_a_store_ahead_of_the_hub_gets_nothing_twice() {
    let mut scene = Scene::new();
    let first = scene.past.write(&[Put("a", 1)]);
    scene.watch(request_from("a", "", 2));
    scene.catch_up();
    scene.hub.request_progress(STREAM);
    scene.notify(&first);
    scene.hub.request_progress(STREAM);
    scene.put("a", 2);
    assert_eq!(
        scene.told(),
        [
            "created 0 @2",
            "events 0 [a=1#2] @2",
            "progress @2",
            "events 0 [a=2#3] @3"
        ]
    );
}

/// P13 (etcd issue 20221).
#[test]
fn a_watcher_of_the_future_gets_neither_events_nor_progress_before() {
    let mut scene = Scene::new();
    scene.watch(WatchRequest {
        progress_notify: ProgressNotify::Periodic,
        ..request_from("a", "", 4)
    });
    for value in 2..5 {
        scene.hub.request_progress(STREAM);
        scene.hub.progress_tick(STREAM);
        scene.put("a", value);
    }
    scene.hub.request_progress(STREAM);
    assert_eq!(
        scene.told(),
        ["created 0 @1", "events 0 [a=4#4] @4", "progress @4"]
    );
}

/// P10 (etcd issue 19179).
#[test]
fn a_start_below_the_compaction_is_created_and_ended_and_one_at_it_is_good() {
    let mut scene = Scene::new();
    scene.put("a", 1);
    scene.put("a", 2);
    scene.txn(&[Delete("a")]);
    scene.past.compact(revision(4));
    scene.watch(request_from("a", "", 3));
    scene.watch(with_prev_kv(request_from("a", "", 4)));
    scene.catch_up();
    assert_eq!(
        scene.told(),
        [
            "created 0 @4",
            "created 1 @4",
            "compacted 0 at 4 @4",
            "events 1 [-a#4] @4"
        ]
    );
    // Progress does not wait for who has ended; its id is free when the client lets go of it.
    scene.hub.request_progress(STREAM);
    let again = WatchRequest {
        id: Some(WatchId::new(0)),
        ..request("a", "")
    };
    // An id of 0 on the wire means any; a client that chose 0 is one of ours.
    assert_eq!(
        scene.hub.watch(STREAM, again.clone()),
        Err(WatchRefusal::DuplicateId)
    );
    scene.hub.cancel(STREAM, WatchId::new(0));
    scene.watch(again);
    assert_eq!(
        scene.told().last().map(String::as_str),
        Some("created 0 @4")
    );
}

#[test]
fn filters_leave_events_out_and_a_reply_without_events_is_not_sent() {
    let mut scene = Scene::new();
    let filtered = |no_put, no_delete| WatchRequest {
        filters: Filters { no_put, no_delete },
        ..request("a", "c")
    };
    scene.watch(filtered(true, false));
    scene.watch(filtered(false, true));
    scene.watch(filtered(true, true));
    scene.put("a", 1);
    scene.txn(&[Put("b", 2), Delete("a")]);
    assert_eq!(
        scene.told().split_off(3),
        [
            "events 1 [a=1#2] @2",
            "events 0 [-a#3] @3",
            "events 1 [b=2#3] @3"
        ]
    );
}

#[test]
fn what_was_replaced_comes_to_those_who_asked_unless_it_is_compacted() {
    let mut scene = Scene::new();
    scene.watch(with_prev_kv(request("a", "")));
    scene.watch(request("a", ""));
    scene.put("a", 1);
    scene.put("a", 2);
    let deletion = scene.past.write(&[Delete("a")]);
    scene.past.compact(revision(4));
    scene.notify(&deletion);
    assert_eq!(
        scene.told().split_off(2),
        [
            "events 0 [a=1#2] @2",
            "events 1 [a=1#2] @2",
            "events 0 [a=2#3/a=1] @3",
            "events 1 [a=2#3] @3",
            "events 0 [-a#4] @4",
            "events 1 [-a#4] @4",
        ]
    );
}

#[test]
fn a_canceled_watcher_is_told_after_its_last_event_and_gets_no_more() {
    let mut scene = Scene::new();
    scene.watch(request("a", ""));
    scene.put("a", 1);
    scene.hub.cancel(STREAM, WatchId::new(0));
    scene.hub.cancel(STREAM, WatchId::new(0));
    scene.hub.cancel(STREAM, WatchId::new(77));
    scene.put("a", 2);
    assert_eq!(
        scene.told(),
        ["created 0 @1", "events 0 [a=1#2] @2", "canceled 0 @2"]
    );
    assert_eq!(scene.hub.counts().watchers, 0);
}

#[test]
fn a_closed_stream_takes_its_watchers_along_and_later_calls_do_nothing() {
    let mut scene = Scene::new();
    let slow = scene.open(1);
    for start in [2, 3] {
        scene.hub.watch(slow, request_from("a", "", start)).unwrap();
    }
    scene.watch(request("a", ""));
    for value in 1..4 {
        scene.put("a", value);
    }
    assert_eq!(scene.hub.counts().victims, 2);
    scene.hub.close_stream(slow);
    scene.hub.close_stream(slow);
    scene.hub.cancel(slow, WatchId::new(0));
    scene.hub.request_progress(slow);
    scene.hub.progress_tick(slow);
    assert_eq!(
        scene.hub.watch(slow, request("a", "")),
        Err(WatchRefusal::StreamClosed)
    );
    assert_eq!(
        scene.hub.watch(StreamId::new(9), request("a", "")),
        Err(WatchRefusal::StreamClosed)
    );
    let counts = scene.hub.counts();
    assert_eq!((counts.streams, counts.watchers, counts.victims), (1, 1, 0));
    scene.hub.check_invariants();
}

#[test]
fn a_request_is_read_as_clients_mean_it() {
    let wire = WatchCreateRequest {
        key: Bytes::new(),
        range_end: Bytes::from_static(b"\0"),
        start_revision: 7,
        progress_notify: true,
        filters: vec![FilterType::Nodelete.into(), 99],
        prev_kv: true,
        watch_id: 5,
        fragment: true,
    };
    let read = WatchRequest::from_wire(&wire).unwrap();
    assert_eq!(
        read,
        WatchRequest {
            id: Some(WatchId::new(5)),
            start: WatchStart::At(revision(7)),
            prev_kv: PrevKv::Include,
            filters: Filters {
                no_put: false,
                no_delete: true
            },
            progress_notify: ProgressNotify::Periodic,
            fragments: Fragments::Accepted,
            ..request("\0", "\0")
        }
    );
    let least = WatchRequest::from_wire(&WatchCreateRequest::default()).unwrap();
    assert_eq!(least, request("\0", ""));
    let negative = WatchCreateRequest {
        start_revision: -1,
        ..WatchCreateRequest::default()
    };
    let refusal = WatchRequest::from_wire(&negative).unwrap_err();
    assert_eq!(
        refusal.to_string(),
        "etcdserver: mvcc: required revision has been compacted"
    );
}

#[test]
fn a_revision_is_notified_once_and_skipped_ones_are_caught_up_with() {
    let mut scene = Scene::new();
    scene.watch(request("a", ""));
    let first = scene.past.write(&[Put("a", 1)]);
    let second = scene.past.write(&[Put("a", 2)]);
    scene.hub.skip_to(revision(3));
    scene.hub.notify(revision(2), &first).unwrap();
    scene.hub.notify(revision(3), &second).unwrap();
    assert_eq!(scene.hub.counts().unsynced, 1);
    assert_eq!(scene.hub.sync_step(), Ok(CatchUp::Done));
    scene.put("a", 3);
    assert_eq!(
        scene.told(),
        [
            "created 0 @1",
            "events 0 [a=1#2, a=2#3] @3",
            "events 0 [a=3#4] @4"
        ]
    );
}

#[test]
fn a_history_that_cannot_be_read_costs_delay_and_no_event() {
    let mut scene = Scene::new();
    scene.watch(with_prev_kv(request("a", "")));
    scene.watch(request("a", ""));
    scene.put("a", 1);
    let change = scene.past.write(&[Put("a", 2)]);
    scene.past.set_readable(false);
    assert!(scene.hub.notify(revision(3), &change).is_err());
    assert!(scene.hub.sync_step().is_err());
    scene.hub.check_invariants();
    scene.past.set_readable(true);
    scene.catch_up();
    scene.put("a", 3);
    assert_eq!(
        scene.told().split_off(4),
        [
            "events 1 [a=2#3] @3",
            "events 0 [a=2#3/a=1] @3",
            "events 0 [a=3#4/a=2] @4",
            "events 1 [a=3#4] @4",
        ]
    );
}
