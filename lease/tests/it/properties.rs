//! What holds under any interleaving of clients, time and leaders; and that it takes each rule.

use proptest::prelude::*;

use crate::group::{Fault, Group, MEMBERS, Step};

/// Few leases of few lengths, and steps that add up: most of what goes wrong needs several in a row.
fn step() -> impl Strategy<Value = Step> {
    let lease = || 1..4_i64;
    let member = || 0..MEMBERS;
    prop_oneof![
        3 => (lease(), prop_oneof![Just(2_i64), Just(3), Just(900)])
            .prop_map(|(lease, secs)| Step::Grant(lease, secs)),
        1 => lease().prop_map(Step::Revoke),
        2 => (0..4_usize, prop::option::of(lease())).prop_map(|(key, lease)| Step::Put(key, lease)),
        1 => (0..4_usize).prop_map(Step::Delete),
        5 => (member(), lease()).prop_map(|(member, lease)| Step::Renew(member, lease)),
        4 => prop_oneof![4 => 0..2500_u64, 1 => 300_000..400_000_u64].prop_map(Step::Pass),
        5 => member().prop_map(Step::Tick),
        6 => (0..4_usize).prop_map(Step::Commit),
        9 => (member(), 0..6_usize).prop_map(|(member, count)| Step::Apply(member, count)),
        2 => (member(), 0..3_usize).prop_map(|(member, kept)| Step::Elect(member, kept)),
        5 => member().prop_map(Step::Learn),
        1 => member().prop_map(Step::Restart),
    ]
}

fn script() -> impl Strategy<Value = Vec<Step>> {
    prop::collection::vec(step(), 1..160)
}

fn run(script: &[Step], fault: Fault) -> Result<usize, String> {
    let mut group = Group::new(fault);
    for step in script {
        group.step(step)?;
    }
    group.settle()?;
    Ok(group.expired.len())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(300) })]

    #[test]
    fn no_lease_ends_before_what_was_promised_and_every_lease_ends(script in script()) {
        let outcome = run(&script, Fault::None);
        prop_assert!(outcome.is_ok(), "{:?}", outcome);
    }
}

/// Member 0 leads, and has a lease of so many seconds since 0, which the others know.
fn lease_of(secs: i64) -> Vec<Step> {
    vec![
        Step::Grant(1, secs),
        Step::Commit(9),
        Step::Apply(0, 9),
        Step::Apply(1, 9),
        Step::Learn(0),
    ]
}

/// Member 1 takes over, with `kept` of what was pending, and knows it.
fn taken_over(kept: usize) -> [Step; 4] {
    let committed = [Step::Commit(9), Step::Apply(1, 9)];
    let [commit, apply] = committed;
    [Step::Elect(1, kept), commit, apply, Step::Learn(1)]
}

/// Member 1 applies all that was proposed.
fn applied() -> [Step; 2] {
    [Step::Commit(9), Step::Apply(1, 9)]
}

/// A script that a rule keeps harmless: without the rule a lease ends early.
fn needs(rule: Fault, script: &[Step]) {
    assert!(run(script, Fault::None).is_ok());
    let complaint = run(script, rule).expect_err("the rule is left out");
    assert!(complaint.contains("was promised until"), "{complaint}");
}

#[test]
fn without_the_term_a_stalled_leader_ends_what_was_renewed() {
    let mut script = lease_of(2);
    script.push(Step::Pass(2000));
    script.extend(taken_over(0));
    script.extend([Step::Renew(1, 1), Step::Tick(0)]);
    script.extend(applied());
    needs(Fault::NoTerm, &script);
}

#[test]
fn promoted_too_early_a_leader_renews_what_the_one_before_ends() {
    let mut script = lease_of(2);
    script.extend([
        Step::Pass(2000),
        Step::Tick(0),
        Step::Elect(1, 1),
        Step::Learn(1),
        Step::Renew(1, 1),
    ]);
    script.extend(applied());
    needs(Fault::EarlyPromotion, &script);
}

#[test]
fn unconfirmed_a_stalled_leader_promises_what_it_cannot_keep() {
    let mut script = lease_of(2);
    script.extend(taken_over(0));
    script.extend([
        Step::Pass(1500),
        Step::Renew(0, 1),
        Step::Pass(600),
        Step::Tick(1),
    ]);
    script.extend(applied());
    needs(Fault::Unconfirmed, &script);
}

#[test]
fn a_checkpoint_that_outlives_a_renewal_ends_the_lease_at_the_next_leader() {
    let mut script = lease_of(900);
    script.extend([
        Step::Pass(300_000),
        Step::Tick(0),
        Step::Commit(9),
        Step::Apply(0, 9),
        Step::Renew(0, 1),
    ]);
    script.extend(taken_over(9));
    script.extend([Step::Pass(600_000), Step::Tick(1)]);
    script.extend(applied());
    needs(Fault::CheckpointsStay, &script);
}

#[test]
fn without_the_renewal_an_expiry_ends_the_next_lease_of_the_same_id() {
    let mut script = lease_of(2);
    script.extend([
        Step::Pass(2000),
        Step::Revoke(1),
        Step::Grant(1, 9),
        Step::Tick(0),
    ]);
    script.extend(applied());
    needs(Fault::AnyRenewal, &script);
}

#[test]
fn a_renewal_of_a_lease_that_is_gone_promises_nothing_for_the_next_of_its_id() {
    let mut script = lease_of(900);
    script.extend([
        Step::Revoke(1),
        Step::Grant(1, 2),
        Step::Commit(9),
        Step::Apply(1, 9),
        Step::Renew(0, 1),
        Step::Pass(2000),
        Step::Tick(0),
        Step::Pass(2000),
        Step::Tick(0),
        Step::Commit(9),
        Step::Apply(0, 9),
    ]);
    needs(Fault::AnyLease, &script);
}

/// In the term of its start it would not know of the expiry that it has proposed.
#[test]
fn a_leader_that_restarts_promises_nothing_in_its_old_term() {
    let mut script = lease_of(2);
    script.extend([
        Step::Pass(2000),
        Step::Tick(0),
        Step::Restart(0),
        Step::Learn(0),
        Step::Renew(0, 1),
    ]);
    script.extend(applied());
    assert_eq!(run(&script, Fault::None), Ok(1));
}
