//! What members, leases, locks, compactions and leaders promise, each broken once.

use cairn_history::{
    HashKv, IncidentKind, Leadership, LeaseId, MemberId, Refusal, Request, Response, Revision,
    Rule, Term, WatchSays,
};

use crate::story::{Story, delete_event, kv, put_event, time, under};

#[test]
fn a_member_does_not_go_back_while_it_runs() {
    let mut story = Story::default();
    story.put((1, 2), "a", "1", 2);
    story.peek((3, 4), "a", 2, vec![kv("a", "1", (2, 2, 1))]);
    story.peek((5, 6), "a", 1, vec![]);
    story.breaks(
        Rule::NeverBack,
        "m1 answered op 1 at revision 2, and then op 2 at revision 1",
    );
    story.incident(4, 1, IncidentKind::Stopped);
    story.incident(5, 1, IncidentKind::Started);
    story.passes();
}

#[test]
fn answers_under_way_together_may_come_in_any_order() {
    let mut story = Story::default();
    story.put((1, 2), "a", "1", 2);
    story.peek((3, 6), "a", 2, vec![kv("a", "1", (2, 2, 1))]);
    story.peek((5, 7), "a", 1, vec![]);
    story.passes();
}

#[test]
fn terms_do_not_go_back_and_have_one_leader() {
    let seen = |at, member, term, leader| Leadership {
        at: time(at),
        member: MemberId(member),
        term: Term(term),
        leader: Some(MemberId(leader)),
    };
    let mut story = Story::default();
    story.history.leaderships = vec![seen(1, 0, 2, 0), seen(2, 1, 3, 1), seen(3, 0, 3, 1)];
    story.passes();
    story.history.leaderships.push(seen(4, 2, 3, 2));
    story.breaks(
        Rule::OneLeader,
        "term 3 is led by m1, says m1, and by m2, says m2",
    );
    story.history.leaderships.pop();
    story.history.leaderships.push(seen(4, 1, 2, 0));
    story.breaks(Rule::NeverBack, "m1 went back from term 3 to term 2");
    let (at, member) = (story.history.leaderships[3].at, Some(MemberId(1)));
    story
        .history
        .incident(at, member, IncidentKind::DataReplaced);
    story.passes();
}

#[test]
fn after_healing_every_member_shows_everything() {
    let mut story = Story::default();
    story.put((1, 2), "a", "1", 2);
    story.history.settled = Some(time(3));
    story.peek((4, 5), "a", 1, vec![]);
    story.breaks(Rule::Durable, "m1 is still at 1");
}

#[test]
fn members_with_the_same_history_have_the_same_hash() {
    let mut story = Story::default();
    story.put((1, 2), "a", "1", 2);
    let hash = |hash, compacted: Option<i64>| {
        Response::HashKv(HashKv {
            hash,
            hash_revision: Some(Revision(2)),
            compact_revision: compacted.map(Revision),
        })
    };
    story.done(0, (3, 4), Request::HashKv(None), (2, hash(7, None)));
    story.done(1, (3, 4), Request::HashKv(None), (2, hash(8, Some(2))));
    story.passes();
    story.done(
        2,
        (5, 6),
        Request::HashKv(Some(Revision(2))),
        (2, hash(9, None)),
    );
    story.breaks(Rule::EqualHash, "00000007 by op 1 and 00000009 by op 3");
}

#[test]
fn what_is_compacted_is_refused_and_nothing_else() {
    let at = |revision| {
        let mut read = cairn_history::RangeRequest::new(cairn_history::KeyRange::One("a".into()));
        read.revision = Some(Revision(revision));
        Request::Range(read)
    };
    let mut story = Story::default();
    story.put((1, 2), "a", "1", 2);
    story.put((3, 4), "a", "2", 3);
    story.refused(1, (5, 6), at(2), Refusal::Compacted);
    story.breaks(
        Rule::Compaction,
        "op 2 was refused as compacted, but 2 was not",
    );
    story.done(
        0,
        (4, 5),
        Request::Compact(Revision(3)),
        (3, Response::Done),
    );
    story.passes();
    let old = crate::story::found(vec![kv("a", "1", (2, 2, 1))]);
    story.done(1, (7, 8), at(2), (3, old));
    story.breaks(
        Rule::Compaction,
        "op 4 was done at revision 2, but all below 3 was compacted",
    );

    let mut story = Story::default();
    story.put((1, 2), "a", "1", 2);
    story.refused(1, (1, 2), at(2), Refusal::FutureRevision);
    story.passes();
    story.refused(1, (3, 4), at(2), Refusal::FutureRevision);
    story.breaks(Rule::Compaction, "op 2 was refused as of the future");
}

#[test]
fn compactions_go_forward() {
    let mut story = Story::default();
    story.put((1, 2), "a", "1", 2);
    story.put((3, 4), "a", "2", 3);
    story.done(
        0,
        (5, 6),
        Request::Compact(Revision(3)),
        (3, Response::Done),
    );
    story.refused(0, (7, 8), Request::Compact(Revision(3)), Refusal::Compacted);
    story.passes();
    story.done(
        0,
        (9, 10),
        Request::Compact(Revision(2)),
        (3, Response::Done),
    );
    story.breaks(Rule::Compaction, "op 4 was done at revision 2");
}

/// A key under a lease of 10 seconds, granted from 1 to 2, that is gone at `gone`.
fn leased(gone: u64) -> Story {
    let mut story = Story::default();
    story.grant((1, 2), 7, 10, 1);
    story.put_under((3, 4), "a", 7, 2);
    let watch = story.watch_all();
    let mut kv = kv("a", "x", (2, 2, 1));
    kv.lease = Some(LeaseId(7));
    story.events(watch, 4, vec![put_event(kv, None)]);
    story.events(watch, gone, vec![delete_event("a", 3)]);
    story
}

#[test]
fn a_lease_does_not_end_before_its_time() {
    leased(11).passes();
    leased(10).breaks(
        Rule::Lease,
        "lease 7 ended at revision 3 (`delete a at 3`) 0.900 s before",
    );
}

#[test]
fn a_renewed_lease_lives_on() {
    let mut story = leased(14);
    story.passes();
    story.keep_alive((5, 6), 7, 10);
    story.breaks(Rule::Lease, "after op 2 renewed it");
}

#[test]
fn an_ended_lease_is_not_renewed() {
    let mut story = leased(12);
    story.keep_alive((13, 14), 7, 10);
    story.breaks(Rule::Lease, "but op 2 renewed it later");
}

#[test]
fn a_revoked_lease_takes_its_keys_at_any_time_and_is_of_no_use() {
    let mut story = leased(6);
    story.done(
        0,
        (5, 6),
        Request::LeaseRevoke(LeaseId(7)),
        (3, Response::Done),
    );
    story.passes();
    story.done(0, (7, 8), under("b", 7), (4, Response::Put(None)));
    story.breaks(Rule::Lease, "op 3 used lease 7, which was revoked before");
}

#[test]
fn a_lease_that_was_never_granted_is_of_no_use() {
    let mut story = Story::default();
    story.put_under((1, 2), "a", 7, 2);
    story.breaks(Rule::Lease, "op 0 used lease 7, which was never granted");
}

#[test]
fn a_living_lease_is_found() {
    let mut story = Story::default();
    story.grant((1, 2), 7, 10, 1);
    story.refused(0, (3, 4), under("a", 7), Refusal::LeaseNotFound);
    story.breaks(Rule::Lease, "op 1 found no lease 7, which lived");
    let mut story = Story::default();
    story.grant((1, 2), 7, 10, 1);
    story.refused(0, (11, 12), under("a", 7), Refusal::LeaseNotFound);
    story.passes();
}

#[test]
fn keys_do_not_stay_long_after_their_lease() {
    let mut story = Story::default();
    story.grant((1, 2), 7, 10, 1);
    story.put_under((3, 4), "a", 7, 2);
    let mut there = kv("a", "x", (2, 2, 1));
    there.lease = Some(LeaseId(7));
    story.get((17, 18), "a", 2, vec![there.clone()]);
    story.passes();
    story.get((19, 20), "a", 2, vec![there]);
    story.breaks(Rule::Lease, "2.000 s after it was to be gone");
}

fn lock(story: &mut Story, client: u32, lease: i64, span: (u64, u64), revision: i64) {
    let name = "l".into();
    let lease = LeaseId(lease);
    let key = format!("l/{:x}", lease.0).as_str().into();
    let request = Request::Lock { name, lease };
    story.done(client, span, request, (revision, Response::Lock(key)));
}

/// Two sessions that ask for the lock at the same time.
fn two_sessions() -> Story {
    let mut story = Story::default();
    story.grant((0, 0), 10, 60, 1);
    story.grant((0, 0), 11, 60, 1);
    story
}

#[test]
fn the_oldest_that_waits_holds_the_lock() {
    let mut story = two_sessions();
    lock(&mut story, 1, 10, (1, 2), 2);
    lock(&mut story, 2, 11, (1, 9), 4);
    story.done(
        1,
        (3, 4),
        Request::Unlock("l/a".into()),
        (4, Response::Done),
    );
    story.passes();
}

#[test]
fn a_lock_that_is_given_up_takes_its_key_back_before_the_lease_is_revoked() {
    let mut story = two_sessions();
    lock(&mut story, 1, 10, (1, 2), 2);
    let name = "l".into();
    let lease = LeaseId(11);
    story.call(2, 3, Request::Lock { name, lease });
    let watch = story.watch_all();
    let mut held = kv("l/b", "", (3, 3, 1));
    held.lease = Some(lease);
    let mut first = kv("l/a", "", (2, 2, 1));
    first.lease = Some(LeaseId(10));
    let puts = [first, held].map(|kv| put_event(kv, None));
    story.events(watch, 5, puts.to_vec());
    story.events(watch, 6, vec![delete_event("l/b", 4)]);
    story.done(2, (7, 8), Request::LeaseRevoke(lease), (4, Response::Done));
    story.passes();
}

#[test]
fn nobody_holds_a_lock_before_his_turn() {
    let mut story = two_sessions();
    lock(&mut story, 1, 10, (1, 2), 2);
    lock(&mut story, 2, 11, (3, 4), 3);
    story.breaks(Rule::Lock, "is older and still there");
}

#[test]
fn nobody_holds_a_lock_with_a_key_that_is_gone() {
    let mut story = two_sessions();
    lock(&mut story, 1, 10, (1, 2), 2);
    story.done(
        2,
        (3, 4),
        Request::LeaseRevoke(LeaseId(10)),
        (3, Response::Done),
    );
    lock(&mut story, 2, 10, (5, 6), 3);
    story.breaks(Rule::Lock, "which is not there at revision 3");
}

#[test]
fn a_stream_of_a_member_says_nothing_after_it_stopped_and_resumes_elsewhere() {
    let mut story = Story::default();
    story.put((1, 2), "a", "1", 2);
    let watch = story.watch_all();
    story.events(watch, 3, vec![put_event(kv("a", "1", (2, 2, 1)), None)]);
    story.history.hear_no_more(watch, time(4));
    story.put((5, 6), "a", "2", 3);
    let again = story.watch_all();
    let events = vec![
        put_event(kv("a", "1", (2, 2, 1)), None),
        put_event(kv("a", "2", (2, 3, 2)), None),
    ];
    story.events(again, 7, events);
    story.hear(again, 8, 3, WatchSays::Progress);
    story.history.settled = Some(time(9));
    story.passes();
}
