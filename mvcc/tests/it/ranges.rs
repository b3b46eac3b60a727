//! Ranges, with every option.

use std::num::NonZeroUsize;

use proptest::collection::vec;
use proptest::prelude::*;

use crate::script::{Subject, query, step};

proptest! {
    #[test]
    fn every_range_at_every_revision_is_what_the_model_says(
        steps in vec(step(), 1..24),
        queries in vec(query(), 1..6),
        chunk in 1_usize..4,
    ) {
        let mut subject = Subject::new();
        for step in &steps {
            subject.run(step);
        }
        for query in &queries {
            subject.check_range(query, NonZeroUsize::new(chunk).unwrap());
        }
    }
}
