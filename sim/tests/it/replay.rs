//! What can be played once can be played again.

use cairn_sim::{Options, PROFILES, Profile, Schedule, generate, play};

#[test]
fn a_seed_twice_is_the_same_run() {
    for (seed, profile) in (1000..).zip(PROFILES) {
        let short = Profile {
            ends: 5_000,
            ..*profile
        };
        let digest = || play(&generate(&short, seed), Options::default()).digest;
        assert_eq!(digest(), digest(), "{} {seed}", profile.name);
    }
}

#[test]
fn keeping_what_happened_changes_nothing() {
    let schedule = generate(&PROFILES[0], 7);
    let kept = Options {
        keep_lines: true,
        ..Options::default()
    };
    let (quiet, kept) = (play(&schedule, Options::default()), play(&schedule, kept));
    assert_eq!(quiet.digest, kept.digest);
    assert_eq!(quiet.history, kept.history);
    assert!(quiet.lines.is_empty() && !kept.lines.is_empty());
}

#[test]
fn a_schedule_is_the_same_after_its_text() {
    for profile in PROFILES {
        let schedule = generate(profile, 3);
        let text = schedule.to_string();
        assert_eq!(text.parse::<Schedule>().unwrap(), schedule);
    }
}
