//! Rules that random scripts do not reach, one by one.

use bytes::Bytes;
use cairn_mvcc::{KeyRange, RangeQuery, Revision};
use cairn_v2::{Action, Counter, EXPIRED_MAX, ErrorKind, Past, Request, Timestamp, TooDeep, Watch};

use crate::subject::{Got, Subject, path};

fn put(path: &str, value: &str) -> Request {
    Request {
        method: "PUT".to_owned(),
        path: Bytes::copy_from_slice(path.as_bytes()),
        val: Bytes::copy_from_slice(value.as_bytes()),
        time: 1,
        ..Request::default()
    }
}

fn delete(path: &str) -> Request {
    Request {
        method: "DELETE".to_owned(),
        ..put(path, "")
    }
}

fn watch(raw: &str) -> Watch {
    Watch {
        path: path(raw),
        recursive: true,
        stream: true,
    }
}

#[test]
fn clients_of_the_third_api_see_nothing_of_the_tree() {
    let mut subject = Subject::new();
    subject.request(&put("/1/a/b", "v")).unwrap();
    subject.put_other();
    let mut keys = Vec::new();
    let query = RangeQuery::new(KeyRange::All);
    let summary = subject
        .store
        .range(&query, &mut |kv| keys.push(kv.key.to_vec()));
    assert_eq!(summary.unwrap().count, 1);
    assert_eq!(keys, [b"other"]);
    let mut batch = subject.store.write();
    let mut txn = batch.txn();
    assert_eq!(txn.delete_range(&KeyRange::All).deleted(), 1);
    drop(txn.end());
    batch.end().unwrap();
    let kept = subject.get(&path("/1/a/b"), false).unwrap();
    assert_eq!(kept.value, Some(Bytes::from("v")));
}

#[test]
fn a_creation_that_ended_long_ago_never_ends() {
    let mut subject = Subject::new();
    let old = Request {
        expiration: 5,
        ..put("/1/a", "v")
    };
    assert_eq!(subject.request(&old).unwrap().node.expiration, None);
    let update = Request {
        prev_exist: Some(true),
        ..old
    };
    let updated = subject.request(&update).unwrap();
    assert_eq!(updated.node.expiration, Some(Timestamp::from_nanos(5)));
    subject.expire(5);
    let gone = subject.get(&path("/1/a"), false).unwrap_err();
    assert_eq!(gone, ErrorKind::KeyNotFound.about("/1/a", 4));
}

#[test]
fn one_request_ends_so_many_nodes_and_no_more() {
    let mut subject = Subject::new();
    let now = 1_700_000_000_000_000_000;
    let nodes = u64::try_from(EXPIRED_MAX).unwrap() + 1;
    for number in 0..nodes {
        let request = Request {
            expiration: now,
            ..put(&format!("/1/{number}"), "")
        };
        subject.request(&request).unwrap();
    }
    subject.expire(now - 1);
    assert_eq!(subject.stats.of(Counter::ExpireCount), 0);
    subject.expire(now);
    assert_eq!(subject.stats.of(Counter::ExpireCount), nodes - 1);
    assert!(cairn_v2::due(&subject.store, Timestamp::from_nanos(now)).unwrap());
    subject.expire(now);
    assert_eq!(subject.stats.of(Counter::ExpireCount), nodes);
    assert!(subject.get(&path("/1"), true).unwrap().nodes.is_empty());
}

#[test]
fn the_roots_stay_and_other_namespaces_are_nodes_like_others() {
    let mut subject = Subject::new();
    for raw in ["/", "/0", "/1"] {
        let refused = subject.request(&put(raw, "v")).unwrap_err();
        assert_eq!(refused, ErrorKind::RootReadOnly.about("/", 1));
        assert!(subject.get(&path(raw), true).unwrap().dir);
    }
    let missing = subject.get(&path("/2/enabled"), false).unwrap_err();
    assert_eq!(missing.cause, "/2");
    subject.request(&put("/2/enabled", "true")).unwrap();
    assert!(subject.get(&path("/2"), false).unwrap().created == 2);
}

#[test]
fn a_path_that_is_too_deep_is_refused_before_anything_is_written() {
    let deep = put(&"/a".repeat(600), "v");
    assert_eq!(deep.node(), Err(TooDeep));
    let mut subject = Subject::new();
    let post = Request {
        method: "POST".to_owned(),
        ..put(&"/a".repeat(512), "v")
    };
    let refused = subject.request(&post).unwrap_err();
    assert_eq!(refused.kind, ErrorKind::InvalidField);
    assert_eq!(refused.cause, "the path has more than 512 levels");
    assert_eq!(subject.store.current(), Revision::FIRST);
}

#[test]
fn a_watcher_that_is_behind_looks_back_first_and_then_waits() {
    let mut subject = Subject::new();
    subject.request(&put("/1/other", "1")).unwrap();
    subject.tell();
    let first = Revision::FIRST.next();
    let got = Got::with_room(1);
    let registered = subject.hub.register(watch("/1/a"), first, got.clone());
    let Err((behind, got)) = registered else {
        panic!("the hub has seen that revision");
    };
    assert_eq!(behind.seen, first);
    let next = match subject.past(&watch("/1/a"), first) {
        Past::NothingBefore(next) => next,
        found => panic!("{found:?}"),
    };
    assert!(
        subject
            .hub
            .register(watch("/1/a"), next, got.clone())
            .is_ok()
    );
    subject.request(&put("/1/a", "1")).unwrap();
    subject.request(&put("/1/a", "2")).unwrap();
    subject.tell();
    assert_eq!(got.events.borrow().len(), 1, "there is room for one");
    assert!(subject.hub.is_empty(), "who is too slow ends");
}

#[test]
fn a_watcher_of_the_future_is_told_of_nothing_before() {
    let mut subject = Subject::new();
    let got = Got::with_room(9);
    let third = Revision::new(3).unwrap();
    assert!(
        subject
            .hub
            .register(watch("/1"), third, got.clone())
            .is_ok()
    );
    for value in ["1", "2", "3"] {
        subject.request(&put("/1/a", value)).unwrap();
        subject.tell();
    }
    let seen: Vec<u64> = got
        .events
        .borrow()
        .iter()
        .map(|it| it.node.modified)
        .collect();
    assert_eq!(seen, [3, 4]);
}

#[test]
fn etcds_statistics_count_some_refusals_as_success() {
    let mut subject = Subject::new();
    let counts =
        |subject: &Subject, counters: [Counter; 2]| counters.map(|it| subject.stats.of(it));
    let compared = Request {
        prev_value: Bytes::from("other"),
        ..delete("/1/a")
    };
    subject.request(&put("/1/a", "v")).unwrap();
    subject.request(&compared).unwrap_err();
    let deletions = [
        Counter::CompareAndDeleteSuccess,
        Counter::CompareAndDeleteFail,
    ];
    assert_eq!(counts(&subject, deletions), [1, 0]);
    let swap = Request {
        prev_value: Bytes::from("other"),
        ..put("/1/a", "v")
    };
    subject.request(&swap).unwrap_err();
    let swaps = [Counter::CompareAndSwapSuccess, Counter::CompareAndSwapFail];
    assert_eq!(counts(&subject, swaps), [0, 1]);
    let post = Request {
        method: "POST".to_owned(),
        ..put("/1/a", "v")
    };
    subject.request(&post).unwrap_err();
    let creations = [Counter::CreateFail, Counter::SetsFail];
    assert_eq!(counts(&subject, creations), [1, 1]);
}

#[test]
fn the_history_survives_a_restart_and_begins_where_it_was_compacted() {
    let mut subject = Subject::new();
    for value in ["1", "2", "3"] {
        subject.request(&put("/1/a", value)).unwrap();
    }
    subject.request(&delete("/1/a")).unwrap();
    subject.restart();
    let found = subject.past(&watch("/1/a"), Revision::new(3).unwrap());
    let Past::Found(event) = found else {
        panic!("{found:?}");
    };
    assert_eq!(event.prev.unwrap().value, Some(Bytes::from("1")));
    subject.compact(Revision::new(5).unwrap());
    let cleared = subject.past(&watch("/1/a"), Revision::new(4).unwrap());
    assert_eq!(cleared, Past::Cleared(Revision::new(5).unwrap()));
    let found = subject.past(&watch("/1/a"), Revision::new(5).unwrap());
    let Past::Found(event) = found else {
        panic!("{found:?}");
    };
    assert_eq!(event.action, Action::Delete);
    assert_eq!(
        event.prev.unwrap().value,
        Some(Bytes::from("3")),
        "events are whole"
    );
}
