//! The checks can fail: every planted bug is found within a few seeds, and none is seen without it.

use std::collections::BTreeSet;

use cairn_sim::{Options, PROFILES, Planted, Profile, generate, play};
use clap::ValueEnum;

/// Seeds within which a bug must be found.
const SEEDS_MAX: u64 = 12;

/// The scenario that looks for a bug; if none does above all, they take turns.
fn profile(bug: Planted, seed: u64) -> Option<&'static Profile> {
    let in_turn = || {
        let turn = usize::try_from(seed).ok()?;
        PROFILES.iter().cycle().nth(turn)
    };
    bug.profile().or_else(in_turn)
}

#[test]
fn every_planted_bug_is_found_within_a_few_seeds() {
    for bug in Planted::value_variants() {
        let options = Options {
            planted: Some(*bug),
            ..Options::default()
        };
        let is_found = |seed: &u64| {
            let profile = profile(*bug, *seed).unwrap();
            play(&generate(profile, *seed), options).failure.is_some()
        };
        let found = (1..=SEEDS_MAX).find(is_found);
        assert!(found.is_some(), "{bug:?} is not found");
    }
}

#[test]
fn the_same_seeds_hold_without_a_bug() {
    let played = Planted::value_variants()
        .iter()
        .flat_map(|bug| (1..=SEEDS_MAX).map(|seed| (profile(*bug, seed).unwrap().name, seed)));
    for (name, seed) in played.collect::<BTreeSet<_>>() {
        let profile = Profile::named(name).unwrap();
        let report = play(&generate(profile, seed), Options::default());
        assert_eq!(report.failure, None, "seed {seed} of {name}");
    }
}
