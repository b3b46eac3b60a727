//! The history that watchers catch up from.

use proptest::collection::vec;
use proptest::prelude::*;

use crate::script::{Subject, step};

proptest! {
    #[test]
    fn history_has_every_event_since_the_compaction_in_pieces_of_any_size(
        steps in vec(step(), 1..24),
        scanned_max in 0_usize..5,
    ) {
        let mut subject = Subject::new();
        for step in &steps {
            subject.run(step);
        }
        subject.check_history(scanned_max);
    }
}
