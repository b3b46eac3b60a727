//! Slow clients, many watchers, and what clients are told of progress.

use cairn_mvcc::Change;
use cairn_watch::{CatchUp, ProgressNotify, StreamId, WatchId, WatchRequest};

use crate::past::Write::Put;
use crate::scene::{STREAM, Scene, request, request_from, revision};

fn periodic(request: WatchRequest) -> WatchRequest {
    WatchRequest {
        progress_notify: ProgressNotify::Periodic,
        ..request
    }
}

#[test]
fn a_slow_client_keeps_nothing_but_its_place_and_delays_nobody() {
    let mut scene = Scene::new();
    let slow = scene.open(3);
    scene.hub.watch(slow, request("a", "")).unwrap();
    scene.watch(request("a", ""));
    for value in 1..=50 {
        scene.put("a", value);
    }
    assert_eq!(scene.told().len(), 51);
    let counts = scene.hub.counts();
    assert_eq!((counts.unsynced, counts.victims), (0, 1));
    // It reads all that waits: what was created, two events, and nothing of the others.
    assert_eq!(scene.hub.retry_victims(), 0);
    assert_eq!(
        scene.told_to(slow),
        ["created 0 @1", "events 0 [a=1#2] @2", "events 0 [a=2#3] @3"]
    );
    assert_eq!(scene.hub.retry_victims(), 1);
    scene.put("b", 0);
    let mut told = Vec::new();
    while scene.hub.counts().unsynced + scene.hub.counts().victims > 0 {
        scene.catch_up();
        told.extend(scene.told_to(slow));
        scene.hub.retry_victims();
    }
    assert!(
        told.iter()
            .all(|told| told.starts_with("events 0 [") && told.ends_with("@52"))
    );
    let values: Vec<_> = told
        .iter()
        .flat_map(|told| told.split("a=").skip(1))
        .collect();
    let expected: Vec<String> = (3..=50)
        .map(|value| format!("{value}#{}", value + 1))
        .collect();
    assert_eq!(values.len(), expected.len());
    assert!(
        values
            .iter()
            .zip(&expected)
            .all(|(value, expected)| value.starts_with(expected))
    );
    scene.put("a", 51);
    assert_eq!(scene.told_to(slow), ["events 0 [a=51#53] @53"]);
}

#[test]
fn an_end_by_compaction_waits_for_room_like_events_do() {
    let mut scene = Scene::new();
    let slow = scene.open(1);
    scene.put("a", 1);
    scene.put("a", 2);
    scene.hub.watch(slow, request_from("a", "", 2)).unwrap();
    scene.past.compact(revision(3));
    assert_eq!(scene.hub.sync_step(), Ok(CatchUp::Done));
    assert_eq!(scene.hub.counts().victims, 1);
    assert_eq!(scene.told_to(slow), ["created 0 @3"]);
    assert_eq!(scene.hub.retry_victims(), 1);
    scene.catch_up();
    assert_eq!(scene.told_to(slow), ["compacted 0 at 3 @3"]);
}

#[test]
fn progress_is_told_for_a_stream_when_all_of_it_is_settled() {
    let mut scene = Scene::new();
    scene.hub.request_progress(STREAM);
    assert!(
        scene.told().is_empty(),
        "a stream without watchers makes no progress"
    );
    scene.put("a", 1);
    scene.watch(request("a", ""));
    scene.watch(request_from("a", "", 2));
    scene.hub.request_progress(STREAM);
    scene.catch_up();
    scene.hub.request_progress(STREAM);
    scene.watch(request_from("b", "", 9));
    scene.hub.request_progress(STREAM);
    scene.hub.cancel(STREAM, WatchId::new(2));
    scene.put("c", 1);
    scene.hub.request_progress(STREAM);
    assert_eq!(
        scene.told(),
        [
            "created 0 @2",
            "created 1 @2",
            "events 1 [a=1#2] @2",
            "progress @2",
            "created 2 @2",
            "canceled 2 @2",
            "progress @3",
        ]
    );
}

#[test]
fn a_victim_keeps_its_stream_from_being_told_of_progress() {
    let mut scene = Scene::new();
    let slow = scene.open(2);
    scene.hub.watch(slow, periodic(request("a", ""))).unwrap();
    for value in 1..4 {
        scene.put("a", value);
    }
    assert_eq!(scene.told_to(slow).len(), 2);
    scene.hub.request_progress(slow);
    scene.hub.progress_tick(slow);
    scene.hub.progress_tick(slow);
    assert!(scene.told_to(slow).is_empty());
    scene.hub.retry_victims();
    scene.hub.request_progress(slow);
    scene.catch_up();
    scene.hub.request_progress(slow);
    assert_eq!(
        scene.told_to(slow),
        ["events 0 [a=2#3, a=3#4] @4", "progress @4"]
    );
}

#[test]
fn a_tick_tells_the_quiet_ones_who_asked() {
    let mut scene = Scene::new();
    scene.watch(periodic(request("a", "")));
    scene.watch(periodic(request("b", "")));
    scene.watch(request("b", ""));
    scene.hub.progress_tick(STREAM);
    scene.put("a", 1);
    scene.hub.progress_tick(STREAM);
    scene.hub.progress_tick(STREAM);
    assert_eq!(
        scene.told().split_off(3),
        [
            "progress 0 @1",
            "progress 1 @1",
            "events 0 [a=1#2] @2",
            "progress 1 @2",
            "progress 0 @2",
            "progress 1 @2",
        ]
    );
}

#[test]
fn one_who_is_far_behind_does_not_hold_up_one_who_is_near() {
    let mut scene = Scene::new();
    for value in 0..3000 {
        scene.put("a", value);
    }
    let near = scene.open(1000);
    scene.watch(request_from("a", "", 2));
    assert_eq!(scene.hub.sync_step(), Ok(CatchUp::More));
    scene.hub.watch(near, request_from("a", "", 2990)).unwrap();
    let mut steps = 0;
    while scene
        .told_to(near)
        .iter()
        .all(|told| told.starts_with("created"))
    {
        steps += 1;
        assert!(steps < 2000, "the near one waits for longer than one sweep");
        // Another one begins at the beginning again and again.
        scene.watch(request_from("a", "", 2));
        assert!(scene.hub.sync_step().is_ok());
        drop(scene.told());
    }
}

#[test]
fn a_step_serves_a_bounded_number_of_watchers() {
    let mut scene = Scene::new();
    scene.put("a", 1);
    let large = scene.open(2000);
    for _ in 0..600 {
        scene.hub.watch(large, request_from("a", "", 2)).unwrap();
    }
    let mut left = Vec::new();
    while scene.hub.sync_step() == Ok(CatchUp::More) {
        left.push(scene.hub.counts().unsynced);
    }
    assert_eq!(left, [344, 88]);
    assert_eq!(scene.told_to(large).len(), 1200);
}

#[test]
fn ten_thousand_watchers_get_one_encoded_event() {
    let mut scene = Scene::new();
    let streams: Vec<StreamId> = (0..100).map(|_| scene.open(200)).collect();
    for stream in &streams {
        for _ in 0..100 {
            scene.hub.watch(*stream, request("a", "")).unwrap();
        }
        assert_eq!(scene.told_to(*stream).len(), 100);
    }
    let changes: Vec<Change> = scene.past.write(&[Put("a", 1)]);
    scene.notify(&changes);
    let lists: Vec<_> = streams
        .iter()
        .flat_map(|stream| scene.event_lists(*stream))
        .collect();
    assert_eq!(lists.len(), 10_000);
    assert!(
        lists
            .iter()
            .all(|list| std::sync::Arc::ptr_eq(list, &lists[0]))
    );
}
