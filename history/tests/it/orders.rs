//! Orders of writes that cannot have been, and some that only look so.

use cairn_history::{
    Compare, Comparison, DeleteResponse, KeyRange, LeaseId, Operand, Outcome, PutRequest, Refusal,
    Request, Response, Rule, TxnOp, TxnOpResponse, TxnRequest, TxnResponse,
};

use crate::story::{Story, delete_event, found, kv, put_event, time};

#[test]
fn a_read_after_a_write_that_does_not_see_it_is_stale() {
    let mut story = Story::default();
    story.put((1, 2), "a", "1", 2);
    story.get((3, 4), "a", 1, vec![]);
    story.breaks(
        Rule::StrictlySerializable,
        "op 1 was called after revision 2 had been seen, but was done at revision 1",
    );
}

#[test]
fn a_read_during_a_write_may_or_may_not_see_it() {
    let mut story = Story::default();
    story.put((1, 5), "a", "1", 2);
    story.get((2, 3), "a", 1, vec![]);
    story.get((3, 4), "a", 2, vec![kv("a", "1", (2, 2, 1))]);
    story.passes();
}

#[test]
fn once_somebody_saw_a_write_everybody_does() {
    let mut story = Story::default();
    story.put((1, 9), "a", "1", 2);
    story.get((2, 3), "a", 2, vec![kv("a", "1", (2, 2, 1))]);
    story.done(2, (4, 5), Request::get("a"), (1, found(vec![])));
    story.breaks(Rule::StrictlySerializable, "after revision 2 had been seen");
}

#[test]
fn what_a_watcher_heard_nobody_may_miss_after_it() {
    let mut story = Story::default();
    story.put((1, 9), "a", "1", 2);
    let watch = story.watch_all();
    story.events(watch, 2, vec![put_event(kv("a", "1", (2, 2, 1)), None)]);
    story.get((4, 5), "a", 1, vec![]);
    story.breaks(Rule::StrictlySerializable, "after revision 2 had been seen");
}

#[test]
fn a_serializable_read_may_be_old_but_not_wrong() {
    let mut story = Story::default();
    story.put((1, 2), "a", "1", 2);
    story.put((3, 4), "a", "2", 3);
    story.peek((5, 6), "a", 2, vec![kv("a", "1", (2, 2, 1))]);
    story.passes();
    story.peek((7, 8), "a", 3, vec![kv("a", "1", (2, 2, 1))]);
    story.breaks(Rule::Snapshot, "op 3 after revision 3 must see");
}

#[test]
fn an_acknowledged_write_is_not_lost() {
    let mut story = Story::default();
    story.put((1, 2), "a", "1", 2);
    story.put((3, 4), "b", "2", 3);
    story.get((5, 6), "a", 3, vec![]);
    story.breaks(Rule::StrictlySerializable, "must see `a=1");
}

#[test]
fn a_revision_is_acknowledged_to_one_alone() {
    let mut story = Story::default();
    story.put((1, 4), "a", "1", 2);
    story.put((2, 3), "b", "2", 2);
    story.breaks(
        Rule::StrictlySerializable,
        "both say that they made revision 2",
    );
}

#[test]
fn revisions_follow_time() {
    let mut story = Story::default();
    story.put((1, 2), "a", "1", 3);
    let answer = (2, Response::Put(None));
    story.done(1, (3, 4), Request::put("a", "2"), answer);
    story.breaks(
        Rule::StrictlySerializable,
        "called after revision 3 had been seen",
    );
}

#[test]
fn nobody_sees_a_write_before_it_is_called() {
    let mut story = Story::default();
    story.peek((1, 2), "a", 2, vec![kv("a", "1", (2, 2, 1))]);
    story.put((3, 4), "a", "1", 2);
    let verdict = story.check();
    assert!(verdict.breaks(Rule::StrictlySerializable), "{verdict}");
    let text = verdict.to_string();
    assert!(text.contains("was seen before it was called"), "{text}");
}

#[test]
fn a_write_without_an_answer_may_be_done_late_or_never() {
    let mut story = Story::default();
    story.call(2, 1, Request::put("a", "lost"));
    story.call(3, 1, Request::put("b", "late"));
    story.put((2, 3), "c", "1", 2);
    story.get((4, 5), "b", 2, vec![]);
    story.get((6, 7), "b", 3, vec![kv("b", "late", (3, 3, 1))]);
    story.passes();
}

#[test]
fn a_write_without_an_answer_is_done_once_at_most() {
    let mut story = Story::default();
    let watch = story.watch_all();
    let lost = story.call(2, 1, Request::put("a", "1"));
    let at = Some(time(2));
    let error = "timeout".to_owned();
    story.history.end(lost, Outcome::Unknown { at, error });
    story.events(watch, 3, vec![put_event(kv("a", "1", (2, 2, 1)), None)]);
    story.passes();
    story.events(watch, 4, vec![put_event(kv("a", "1", (2, 3, 2)), None)]);
    story.breaks(
        Rule::StrictlySerializable,
        "nobody can have made revision 3, which did `put a=1 (create 2, mod 3, version 2)`; op 0 \
         made revision 2",
    );
}

#[test]
fn an_acknowledged_write_is_not_done_again() {
    let mut story = Story::default();
    story.put((1, 2), "a", "1", 2);
    story.get((3, 4), "a", 3, vec![kv("a", "1", (2, 3, 2))]);
    story.breaks(
        Rule::StrictlySerializable,
        "nobody can have made revision 3",
    );
}

#[test]
fn what_was_refused_is_not_done() {
    let mut story = Story::default();
    story.refused(
        0,
        (1, 2),
        Request::put("a", "1"),
        Refusal::Other("no".to_owned()),
    );
    story.get((3, 4), "a", 2, vec![kv("a", "1", (2, 2, 1))]);
    story.breaks(Rule::StrictlySerializable, "op 0 was refused");
}

#[test]
fn no_revision_is_skipped() {
    let mut story = Story::default();
    story.put((1, 2), "a", "1", 2);
    story.put((3, 4), "a", "2", 4);
    story.breaks(
        Rule::StrictlySerializable,
        "nobody can have made revision 3",
    );
}

#[test]
fn previous_versions_counts_and_conditions_are_the_models() {
    let mut story = Story::default();
    story.put((1, 2), "a", "1", 2);
    let mut put = PutRequest::new("a", "2");
    put.prev_kv = true;
    let stale = Response::Put(Some(kv("a", "0", (2, 2, 1))));
    story.done(0, (3, 4), Request::Put(put), (3, stale));
    story.breaks(Rule::StrictlySerializable, "op 1 at revision 3 must answer");

    let mut story = Story::default();
    story.put((1, 2), "a", "1", 2);
    let deleted = DeleteResponse {
        deleted: 2,
        prev_kvs: Vec::new(),
    };
    let deleted = Response::DeleteRange(deleted);
    story.done(0, (3, 4), Request::delete("a"), (3, deleted));
    story.breaks(Rule::StrictlySerializable, "must answer `deleted 1`");

    let mut story = Story::default();
    let txn = TxnRequest {
        success: vec![TxnOp::Put(PutRequest::new("a", "1"))],
        ..TxnRequest::default()
    };
    let failed = Response::Txn(TxnResponse::default());
    story.done(0, (1, 2), Request::Txn(txn), (1, failed));
    story.breaks(Rule::StrictlySerializable, "was to change `put a=1");
}

#[test]
fn a_transaction_is_done_whole() {
    let mut story = Story::default();
    let txn = TxnRequest {
        success: vec![
            TxnOp::Put(PutRequest::new("a", "1")),
            TxnOp::Put(PutRequest::new("b", "1")),
        ],
        ..TxnRequest::default()
    };
    let done = TxnResponse {
        succeeded: true,
        responses: vec![TxnOpResponse::Put(None), TxnOpResponse::Put(None)],
    };
    story.done(0, (1, 2), Request::Txn(txn), (2, Response::Txn(done)));
    story.get((3, 4), "a", 2, vec![kv("a", "1", (2, 2, 1))]);
    story.get((3, 4), "b", 2, vec![]);
    story.breaks(
        Rule::StrictlySerializable,
        "op 2 after revision 2 must see `b=1",
    );
}

#[test]
fn an_answer_answers_its_request() {
    let mut story = Story::default();
    story.done(0, (1, 2), Request::get("a"), (1, Response::Done));
    story.breaks(Rule::WellFormed, "`get a` was answered with `ok`");
    let mut story = Story::default();
    story.get((1, 2), "a", 0, vec![]);
    story.breaks(Rule::WellFormed, "there is no revision 0");
}

#[test]
fn a_search_that_takes_too_long_says_so_and_does_not_pass() {
    let mut story = Story::default();
    for at in 0..12 {
        story.call(at, 1, Request::put("a", format!("{at}")));
    }
    // Twelve writes in an order that nobody saw, and an end that none of them can bring about.
    story.get((2, 3), "a", 13, vec![kv("a", "x", (2, 13, 12))]);
    let limits = cairn_history::Limits {
        steps_max: 10_000,
        leases: None,
    };
    let verdict = cairn_history::check(&story.history, &limits);
    assert!(!verdict.is_clean());
    assert!(verdict.counts.steps < 50_000, "{verdict}");
}

#[test]
fn a_lease_takes_its_keys_in_one_revision() {
    let mut story = Story::default();
    story.grant((1, 2), 7, 10, 1);
    story.put_under((3, 4), "a", 7, 2);
    story.put_under((5, 6), "b", 7, 3);
    let watch = story.watch_all();
    let under = |key: &str, revision| {
        let mut kv = kv(key, "x", (revision, revision, 1));
        kv.lease = Some(LeaseId(7));
        put_event(kv, None)
    };
    story.events(watch, 7, vec![under("a", 2), under("b", 3)]);
    let torn = |story: &Story| {
        let mut torn = Story {
            history: story.history.clone(),
        };
        torn.events(watch, 20, vec![delete_event("a", 4)]);
        torn.events(watch, 20, vec![delete_event("b", 5)]);
        torn
    };
    torn(&story).breaks(Rule::StrictlySerializable, "nobody can have made revision");
    let both = vec![delete_event("a", 4), delete_event("b", 4)];
    story.events(watch, 20, both);
    story.passes();
}

#[test]
fn of_two_leases_that_nobody_saw_end_the_one_ends_first_that_may() {
    let mut story = Story::default();
    story.grant((1, 2), 7, 10, 1);
    story.grant((1, 2), 8, 3, 1);
    story.put_under((2, 3), "a", 7, 2);
    story.put_under((2, 3), "b", 8, 3);
    // Somebody writes when the one must be gone and the other cannot be.
    story.put((6, 7), "c", "1", 5);
    story.put((20, 21), "c", "2", 7);
    story.passes();
    // Nobody's lease may have ended here.
    let mut story = Story::default();
    story.grant((1, 2), 7, 10, 1);
    story.put_under((2, 3), "a", 7, 2);
    story.put((6, 7), "c", "1", 4);
    story.breaks(Rule::Lease, "lease 7 ended at revision 3");
}

#[test]
fn a_lease_that_lives_is_not_said_to_be_gone() {
    let mut story = Story::default();
    story.grant((1, 2), 7, 10, 1);
    story.keep_alive((3, 4), 7, 0);
    story.breaks(Rule::Lease, "op 1 found no lease 7, which lived");
    let mut story = Story::default();
    story.grant((1, 2), 7, 3, 1);
    story.keep_alive((8, 9), 7, 0);
    story.passes();
}

#[test]
fn no_more_is_left_of_a_lease_than_was_granted() {
    let mut story = Story::default();
    story.grant((1, 2), 7, 10, 1);
    let request = Request::LeaseTimeToLive {
        id: LeaseId(7),
        keys: false,
    };
    let body = Response::LeaseTimeToLive {
        ttl_secs: 9_223_372_036,
        granted_secs: 10,
        keys: Vec::new(),
    };
    story.done(0, (3, 4), request, (1, body));
    story.breaks(Rule::Lease, "says that 9223372036 s are left of 10 s");
}

#[test]
fn no_holder_of_a_lock_writes_after_a_later_one() {
    let fenced = |token| {
        Request::Txn(TxnRequest {
            compares: vec![Compare {
                range: KeyRange::One("lock".into()),
                is: Comparison::Equal,
                operand: Operand::Create(token),
            }],
            success: vec![TxnOp::Put(PutRequest::new("guarded", "x"))],
            failure: Vec::new(),
        })
    };
    let done = || {
        Response::Txn(TxnResponse {
            succeeded: true,
            responses: vec![TxnOpResponse::Put(None)],
        })
    };
    let mut story = Story::default();
    story.put((1, 2), "lock", "one", 2);
    story.done(0, (3, 4), fenced(2), (3, done()));
    story.passes();
    let deleted = DeleteResponse {
        deleted: 1,
        prev_kvs: Vec::new(),
    };
    let deleted = Response::DeleteRange(deleted);
    story.done(0, (5, 6), Request::delete("lock"), (4, deleted));
    story.put((7, 8), "lock", "two", 5);
    story.done(1, (9, 10), fenced(5), (6, done()));
    story.passes();
    story.done(0, (11, 12), fenced(2), (7, done()));
    let verdict = story.check();
    assert!(verdict.breaks(Rule::Lock), "{verdict}");
    let text = verdict.to_string();
    assert!(text.contains("as holder 2 of lock, after op 4"), "{text}");
}

#[test]
fn a_report_shows_who_did_what_when() {
    let mut story = Story::default();
    story.put((1, 2), "a", "1", 2);
    story.put((3, 4), "a", "2", 3);
    story.incident(
        5,
        1,
        cairn_history::IncidentKind::Note("cut off".to_owned()),
    );
    story.get((6, 8), "a", 3, vec![kv("a", "1", (2, 2, 1))]);
    let expected = "\
VIOLATION of strict serializability: op 2 after revision 3 must see `a=2 (create 2, mod 3, \
version 2) (1 in range)`, but saw `a=1 (create 2, mod 2, version 1) (1 in range)`
    0.000000 – 1.000000  c0  m0  [op 0] put a=1 → ok at revision 2
    2.000000 – 3.000000  c0  m0  [op 1] put a=2 → ok at revision 3
    4.000000             –   m1  cut off
    5.000000 – 7.000000  c1  m1  [op 2] get a → a=1 (create 2, mod 2, version 1) (1 in range) \
at revision 3

3 operations (0 unknown, 0 of them done), 2 revisions, 0 watchers with 0 events";
    assert_eq!(story.check().to_string(), expected);
    assert_eq!(found(vec![]).to_string(), "nothing of 0");
}
