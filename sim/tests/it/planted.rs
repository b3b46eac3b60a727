//! The checks can fail: every planted bug is found within a few seeds, and none is seen without it.

use cairn_sim::{Options, PROFILES, Planted, generate, play};
use clap::ValueEnum;

/// Seeds within which a bug must be found.
const SEEDS_MAX: u64 = 12;

#[test]
fn every_planted_bug_is_found_within_a_few_seeds() {
    for bug in Planted::value_variants() {
        let options = Options {
            planted: Some(*bug),
            ..Options::default()
        };
        let found = (1..=SEEDS_MAX).find(|seed| {
            let profile = &PROFILES[usize::try_from(*seed).unwrap() % PROFILES.len()];
            play(&generate(profile, *seed), options).failure.is_some()
        });
        assert!(found.is_some(), "{bug:?} is not found");
    }
}

#[test]
fn the_same_seeds_hold_without_a_bug() {
    for seed in 1..=SEEDS_MAX {
        let profile = &PROFILES[usize::try_from(seed).unwrap() % PROFILES.len()];
        let report = play(&generate(profile, seed), Options::default());
        assert_eq!(report.failure, None, "seed {seed} of {}", profile.name);
    }
}
