//! The rules one by one.

use cairn_lease::{CHECKPOINT_INTERVAL, Moment, Renew, Term, Ttl};

use crate::member::{Command, Entry, Member, at, id, ttl};

const TERM: Term = Term(1);
const INTERVAL_MILLIS: u64 = CHECKPOINT_INTERVAL.as_secs() * 1000;

fn apply(member: &mut Member, command: Command) -> usize {
    member
        .apply(&Entry {
            term: TERM,
            command,
        })
        .len()
}

/// A leader since 0 with the lease 1, granted at 0 for so many seconds.
fn leader_with_lease(secs: i64) -> Member {
    let mut member = Member::new();
    member.leases.promote(TERM, at(0));
    apply(&mut member, Command::Grant(id(1), ttl(secs)));
    member.leases.tick(at(0));
    member
}

fn left(member: &Member, now: Moment) -> u128 {
    let remaining = member.leases.remaining(id(1), now);
    remaining.expect("it leads").left.as_millis()
}

/// Renews the lease without the log: its time to live.
fn renewed(member: &mut Member, now: Moment) -> Option<Ttl> {
    match member.leases.renew(id(1), now) {
        Renew::Done(renewed) if renewed.term == TERM => Some(renewed.ttl),
        _ => None,
    }
}

#[test]
fn a_lease_expires_when_its_time_is_over_and_not_before() {
    let mut member = leader_with_lease(2);
    assert_eq!(member.leases.take_expired(at(1999)), None);
    let expiry = member.leases.take_expired(at(2000)).expect("it is time");
    assert_eq!(member.leases.take_expired(at(9000)), None, "once");
    assert_eq!(apply(&mut member, Command::Expire(expiry)), 1);
    assert!(member.leases.is_empty());
    assert!(member.stored().is_empty());
}

#[test]
fn a_renewal_starts_the_time_anew() {
    let mut member = leader_with_lease(2);
    assert_eq!(renewed(&mut member, at(1500)), Some(ttl(2)));
    assert_eq!(member.leases.take_expired(at(3499)), None);
    assert!(member.leases.take_expired(at(3500)).is_some());
}

#[test]
fn a_renewal_is_not_of_another_lease_that_was_granted_since_under_the_id() {
    let mut member = leader_with_lease(900);
    let Renew::Done(renewed) = member.leases.renew(id(1), at(100)) else {
        panic!("it leads");
    };
    assert!(member.leases.is_still(&renewed));
    apply(&mut member, Command::Revoke(id(1)));
    assert!(!member.leases.is_still(&renewed));
    apply(&mut member, Command::Grant(id(1), ttl(2)));
    assert!(!member.leases.is_still(&renewed));
}

#[test]
fn what_has_expired_cannot_be_renewed_until_its_expiry_has_failed() {
    let mut member = leader_with_lease(2);
    assert_eq!(member.leases.renew(id(1), at(2000)), Renew::Expiring);
    let expiry = member.leases.take_expired(at(2000)).expect("it is time");
    assert_eq!(member.leases.renew(id(1), at(2100)), Renew::Expiring);
    assert_eq!(left(&member, at(2100)), 0);
    member.leases.expiry_failed(&expiry, at(2200));
    member.leases.expiry_failed(&expiry, at(2200));
    member.leases.check_invariants();
    assert_eq!(member.leases.take_expired(at(2300)), None, "a little later");
    assert_eq!(member.leases.take_expired(at(3200)), Some(expiry));
}

#[test]
fn an_expiry_of_another_term_does_nothing() {
    let mut member = leader_with_lease(2);
    let mut expiry = member.leases.take_expired(at(2000)).expect("it is time");
    expiry.term = Term(0);
    assert_eq!(apply(&mut member, Command::Expire(expiry)), 0);
    assert!(member.leases.contains(id(1)));
}

#[test]
fn an_expiry_spares_a_lease_that_was_granted_anew_under_its_id() {
    let mut member = leader_with_lease(2);
    let expiry = member.leases.take_expired(at(2000)).expect("it is time");
    apply(&mut member, Command::Revoke(id(1)));
    apply(&mut member, Command::Grant(id(1), ttl(9)));
    assert_eq!(apply(&mut member, Command::Expire(expiry)), 0);
    member.leases.tick(at(2500));
    assert_eq!(left(&member, at(2500)), 9000);
}

#[test]
fn an_expiry_spares_a_lease_that_was_renewed_through_the_log() {
    let mut member = leader_with_lease(2);
    let expiry = member.leases.take_expired(at(2000)).expect("it is time");
    apply(&mut member, Command::Renewed(TERM, id(1)));
    assert_eq!(member.leases.renew(id(1), at(2100)), Renew::Expiring);
    assert_eq!(apply(&mut member, Command::Expire(expiry)), 0);
    assert_eq!(renewed(&mut member, at(2200)), Some(ttl(2)));
}

#[test]
fn who_does_not_lead_knows_no_time() {
    let mut member = Member::new();
    apply(&mut member, Command::Grant(id(1), ttl(2)));
    assert_eq!(member.leases.renew(id(1), at(0)), Renew::NotLeader);
    assert_eq!(member.leases.remaining(id(1), at(0)), None);
    member.leases.tick(at(9000));
    assert_eq!(member.leases.take_expired(at(9000)), None);
    assert!(member.leases.take_checkpoints(at(9_000_000)).is_empty());
    member.leases.promote(TERM, at(10_000));
    assert_eq!(left(&member, at(10_000)), 2000);
    assert_eq!(member.leases.renew(id(2), at(10_000)), Renew::Unknown);
    member.leases.demote();
    assert_eq!(member.leases.leading(), None);
}

#[test]
fn a_new_leader_gives_what_the_last_checkpoint_left() {
    let mut member = leader_with_lease(900);
    assert!(
        member
            .leases
            .take_checkpoints(at(INTERVAL_MILLIS - 1))
            .is_empty()
    );
    let checkpoints = member.leases.take_checkpoints(at(INTERVAL_MILLIS));
    assert_eq!(checkpoints[0].remaining, ttl(600));
    apply(&mut member, Command::Checkpoint(TERM, checkpoints));
    member.restart();
    member.leases.promote(Term(2), at(5_000_000));
    assert_eq!(left(&member, at(5_000_000)), 600_000);
    assert_eq!(member.leases.granted(id(1)), Some(ttl(900)));
}

#[test]
fn a_renewal_undoes_a_checkpoint_through_the_log_also_one_under_way() {
    let mut member = leader_with_lease(900);
    let now = at(INTERVAL_MILLIS);
    let checkpoints = member.leases.take_checkpoints(now);
    assert_eq!(member.leases.renew(id(1), now), Renew::ThroughLog(TERM));
    apply(&mut member, Command::Checkpoint(TERM, checkpoints));
    assert_eq!(member.leases.renew(id(1), now), Renew::ThroughLog(TERM));
    apply(&mut member, Command::Renewed(TERM, id(1)));
    assert_eq!(renewed(&mut member, now), Some(ttl(900)));
    member.leases.promote(Term(2), at(0));
    assert_eq!(left(&member, at(0)), 900_000);
}

#[test]
fn checkpoints_go_on_and_those_that_failed_come_again() {
    let mut member = leader_with_lease(1500);
    let first = member.leases.take_checkpoints(at(INTERVAL_MILLIS));
    member.leases.checkpoints_failed(TERM, &first);
    member.leases.tick(at(INTERVAL_MILLIS));
    let second = member.leases.take_checkpoints(at(2 * INTERVAL_MILLIS));
    assert_eq!(second[0].remaining, ttl(900));
    apply(&mut member, Command::Checkpoint(TERM, second));
    member.leases.tick(at(2 * INTERVAL_MILLIS));
    let third = member.leases.take_checkpoints(at(3 * INTERVAL_MILLIS));
    assert_eq!(third[0].remaining, ttl(600));
}

#[test]
fn a_lease_that_is_renewed_often_or_is_short_needs_no_checkpoint() {
    for (secs, renewed_every) in [(900, 100_000), (300, 100_000)] {
        let mut member = leader_with_lease(secs);
        for now in (0..2_000_000).step_by(renewed_every) {
            assert!(matches!(
                member.leases.renew(id(1), at(now)),
                Renew::Done(_)
            ));
            assert!(member.leases.take_checkpoints(at(now)).is_empty());
        }
    }
}

#[test]
fn keys_follow_the_lease_of_their_last_put() {
    let mut member = leader_with_lease(2);
    apply(&mut member, Command::Grant(id(-2), Ttl::MAX));
    for key in [b"c", b"a", b"b"] {
        apply(&mut member, Command::Put(key, Some(id(1))));
    }
    apply(&mut member, Command::Put(b"b", None));
    apply(&mut member, Command::Put(b"c", Some(id(-2))));
    apply(&mut member, Command::Put(b"z", Some(id(1))));
    apply(&mut member, Command::Delete(b"z"));
    assert_eq!(member.keys(id(1)), [b"a"]);
    assert_eq!(member.keys(id(-2)), [b"c"]);
    member.restart();
    assert_eq!(member.keys(id(1)), [b"a"]);
    let before = member.store.current();
    apply(&mut member, Command::Revoke(id(1)));
    assert_eq!(member.store.current(), before.next(), "one revision");
    assert_eq!(member.stored_keys().len(), 2);
    assert!(member.keys(id(1)).is_empty());
}

#[test]
fn a_hundred_thousand_leases_that_expire_at_once_go_in_bounded_entries() {
    let mut member = Member::new();
    member.leases.promote(TERM, at(0));
    for lease in 1..=100_000 {
        apply_quickly(&mut member, lease);
    }
    member.leases.tick(at(0));
    let (mut entries, mut ended) = (0, 0);
    while !member.leases.is_empty() {
        let mut under_way = Vec::new();
        while let Some(expiry) = member.leases.take_expired(at(2000)) {
            assert!(expiry.leases.len() <= 1000);
            under_way.push(expiry);
        }
        assert!((1..=4).contains(&under_way.len()));
        let mut batch = member.store.write();
        for expiry in under_way {
            entries += 1;
            for lease in expiry.leases {
                ended += usize::from(member.leases.expire(lease, batch.backend()).is_some());
            }
        }
    }
    assert_eq!((entries, ended), (100, 100_000));
}

fn apply_quickly(member: &mut Member, lease: i64) {
    let mut batch = member.store.write();
    let renewal = cairn_lease::Renewal(1);
    let granted = member
        .leases
        .grant(id(lease), ttl(2), renewal, batch.backend());
    granted.expect("ids differ");
}

#[test]
fn a_checkpoint_that_comes_after_a_renewal_through_the_log_does_nothing() {
    let mut member = leader_with_lease(900);
    let first = member.leases.take_checkpoints(at(INTERVAL_MILLIS));
    apply(&mut member, Command::Checkpoint(TERM, first));
    member.leases.tick(at(INTERVAL_MILLIS));
    // The renewal is on its way, and the leader looks once more before it is applied.
    let through_log = Renew::ThroughLog(TERM);
    assert_eq!(
        member.leases.renew(id(1), at(INTERVAL_MILLIS + 1)),
        through_log
    );
    let second = member.leases.take_checkpoints(at(2 * INTERVAL_MILLIS));
    assert_eq!(second.len(), 1);
    apply(&mut member, Command::Renewed(TERM, id(1)));
    apply(&mut member, Command::Checkpoint(TERM, second));
    member.leases.check_invariants();
    assert_eq!(
        renewed(&mut member, at(2 * INTERVAL_MILLIS)),
        Some(ttl(900))
    );
    member
        .leases
        .promote(Term(TERM.0 + 1), at(2 * INTERVAL_MILLIS));
    assert_eq!(left(&member, at(2 * INTERVAL_MILLIS)), 900_000);
}
