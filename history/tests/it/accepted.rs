//! Histories of a correct store pass.

use cairn_history::{History, Limits, check};
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
