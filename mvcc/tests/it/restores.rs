//! Crashes: what comes back is what had reached the disk.

use proptest::collection::vec;
use proptest::prelude::*;

use crate::script::{Step, Subject, query, step};

proptest! {
    /// `Subject::crash` compares revision and compaction; whatever the cut, contents follow.
    #[test]
    fn a_restored_store_is_what_was_there_at_the_last_commit(
        before in vec(step(), 1..16),
        lost in vec(step(), 1..8),
        after in vec(step(), 0..8),
        query in query(),
    ) {
        let mut subject = Subject::new();
        for step in before.iter().chain([&Step::Commit]).chain(&lost).chain([&Step::Crash]) {
            subject.run(step);
        }
        subject.check_range(&query, std::num::NonZeroUsize::MIN);
        for step in &after {
            subject.run(step);
        }
        subject.finish_compaction();
        subject.check_range(&query, std::num::NonZeroUsize::MIN);
        subject.check_history(2);
    }
}
