//! Histories of a correct store pass.

use cairn_history::{
    Answer, ClientId, Event, EventKind, History, KeyRange, KeyValue, Limits, MemberId, Outcome,
    Request, Response, Revision, Time, WatchRequest, WatchResponse, WatchSays, check,
};
use proptest::prelude::*;

use crate::world::{SMALL, Size, history};

fn assert_clean(history: &History) -> Result<(), TestCaseError> {
    let verdict = check(history, &Limits::default());
    prop_assert!(verdict.is_clean(), "{verdict}");
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 200,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn small_histories_pass(seed: u64) {
        assert_clean(&history(seed, SMALL))?;
    }

    #[test]
    fn histories_without_watchers_pass(seed: u64) {
        let size = Size { watchers: 0, unknown_percent: 5, ..SMALL };
        assert_clean(&history(seed, size))?;
    }

    #[test]
    fn a_file_changes_nothing(seed: u64) {
        let before = history(seed, SMALL);
        let mut file = Vec::new();
        before.write(&mut file).unwrap();
        prop_assert_eq!(History::read(file.as_slice()).unwrap(), before);
    }
}

#[test]
fn a_long_history_of_many_clients_passes() {
    let size = Size {
        clients: 20,
        ops: 12_000,
        keys: 50,
        unknown_percent: 4,
        watchers: 6,
        audited: false,
    };
    let history = history(1, size);
    let verdict = check(&history, &Limits::default());
    assert!(verdict.is_clean(), "{verdict}");
    assert!(verdict.counts.unknown > 200, "{verdict}");
    // Hardly more than one step for each operation: the holes are found by evidence.
    assert!(verdict.counts.steps < 40 * history.ops.len(), "{verdict}");
}

/// The simulator found a history in which two writes of unknown outcome could both be a revision that
/// only one watcher knew, as the version before a later one.
#[test]
fn the_version_before_an_event_tells_which_unknown_write_was_done() {
    for done in ["1", "2"] {
        let mut history = History::new();
        let (member, put) = (MemberId(1), |value| Request::put("k", value));
        for (client, value) in [(1, "1"), (2, "2")] {
            let op = history.call(ClientId(client), member, Time(1), put(value));
            let (at, error) = (Some(Time(5)), String::new());
            history.end(op, Outcome::Unknown { at, error });
        }
        let last = history.call(ClientId(3), member, Time(10), put("3"));
        let answer = Answer {
            at: Time(11),
            revision: Some(Revision(3)),
            term: None,
            body: Response::Put(None),
        };
        history.end(last, Outcome::Ok(answer));
        let kv = |value: &str, revision, version| KeyValue {
            key: "k".into(),
            value: value.into(),
            create_revision: Revision(2),
            mod_revision: Revision(revision),
            version,
            lease: None,
        };
        let request = WatchRequest {
            start: Some(Revision(3)),
            prev_kv: true,
            ..WatchRequest::new(KeyRange::One("k".into()))
        };
        let watch = history.watch(ClientId(4), member, Time(20), request);
        let event = Event {
            kind: EventKind::Put,
            kv: kv("3", 3, 2),
            prev_kv: Some(kv(done, 2, 1)),
        };
        for says in [
            WatchSays::Created,
            WatchSays::Events {
                events: vec![event],
                fragment: false,
            },
        ] {
            let (at, revision) = (Time(21), Revision(3));
            history.hear(watch, WatchResponse { at, revision, says });
        }
        let verdict = check(&history, &Limits::default());
        assert!(verdict.is_clean(), "{verdict}");
    }
}
