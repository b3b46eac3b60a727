//! What every watcher may rely on, under any interleaving; and that the check can fail.

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use crate::past::Fault;
use crate::script::{run, script};
use crate::world::Queues;

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn events_are_ordered_unique_whole_and_complete_and_progress_is_honest(script in script()) {
        prop_assert_eq!(run(&script, Fault::None, Queues::Sound), Ok(()));
    }
}

/// The complaints about as many random scripts as it takes to find some, at most 500.
fn complaints(fault: Fault, queues: Queues) -> Vec<String> {
    let mut runner = TestRunner::deterministic();
    let scripts = std::iter::repeat_with(|| {
        script()
            .new_tree(&mut runner)
            .expect("scripts need no filter")
            .current()
    });
    scripts
        .take(500)
        .filter_map(|script| run(&script, fault, queues).err())
        .take(10)
        .collect()
}

#[test]
fn a_history_that_drops_events_is_found_out() {
    let complaints = complaints(Fault::DropsAnEvent, Queues::Sound);
    assert!(
        complaints
            .iter()
            .any(|it| it.contains("not the next event")),
        "{complaints:?}"
    );
}

#[test]
fn a_history_that_repeats_events_is_found_out() {
    assert!(!complaints(Fault::RepeatsAnEvent, Queues::Sound).is_empty());
}

#[test]
fn a_history_that_splits_revisions_is_found_out() {
    let complaints = complaints(Fault::SplitsARevision, Queues::Sound);
    assert!(
        complaints.iter().any(|it| it.contains("a revision in two")),
        "{complaints:?}"
    );
}

#[test]
fn a_history_that_forgets_what_was_replaced_is_found_out() {
    let complaints = complaints(Fault::ForgetsWhatWasReplaced, Queues::Sound);
    assert!(
        complaints.iter().all(|it| it.contains("replaced")),
        "{complaints:?}"
    );
    assert!(!complaints.is_empty());
}

#[test]
fn a_queue_that_loses_replies_is_found_out() {
    assert!(!complaints(Fault::None, Queues::Lossy).is_empty());
}
