//! Clusters in trouble, many seeds of it.

use cairn_consensus::ConfChangeKind;

use crate::application::member;
use crate::cluster::{Cluster, PACE, Weather};

/// What may happen to a cluster in a run.
#[derive(Clone, Copy)]
struct Trouble {
    weather: Weather,
    crashes: bool,
    pauses: bool,
    cuts: bool,
    stalls: bool,
    clocks: bool,
    changes: bool,
}

const FOUL: Weather = Weather {
    loses: 12,
    doubles: 10,
    delays: 6,
    disk_steps_max: 12,
};

const ALL: Trouble = Trouble {
    weather: FOUL,
    crashes: true,
    pauses: true,
    cuts: true,
    stalls: true,
    clocks: true,
    changes: true,
};

/// Uses and troubles a cluster for a while, then ends the trouble: what came of it.
fn run(seed: u64, size: u64, ticks: u64, trouble: Trouble) -> Cluster {
    let ids: Vec<_> = (1..=size).collect();
    let mut cluster = Cluster::new(seed, &ids);
    cluster.weather = trouble.weather;
    let mut proposed = 0;
    let mut last_id = size;
    for _ in 0..ticks {
        cluster.tick();
        let (any, other) = (some_member(&mut cluster), some_member(&mut cluster));
        if cluster.running(any).is_some() {
            use_member(&mut cluster, any, other, &mut proposed);
            if trouble.changes && cluster.chance.one_in(20) {
                change_group(&mut cluster, any, other, &mut last_id);
            }
        }
        upset(&mut cluster, trouble, any, other);
    }
    cluster.heal();
    cluster.converge();
    cluster
}

fn some_member(cluster: &mut Cluster) -> u64 {
    let count = cluster.machines.len() as u64;
    let at = cluster.chance.below(count);
    let mut ids = cluster.machines.keys();
    *ids.nth(usize::try_from(at).unwrap()).unwrap()
}

fn use_member(cluster: &mut Cluster, any: u64, other: u64, proposed: &mut usize) {
    for _ in 0..cluster.chance.below(4) {
        *proposed += 1;
        cluster.propose(any, &format!("{proposed} {}", "x".repeat(*proposed % 200)));
    }
    cluster.read(any);
    if cluster.chance.one_in(4) {
        cluster.keep(any);
    }
    if cluster.chance.one_in(40) {
        cluster.driver(any).transfer_leader(member(other));
    }
}

fn change_group(cluster: &mut Cluster, any: u64, other: u64, last_id: &mut u64) {
    let room = cluster.machines.len() < 8;
    let (kind, of) = match cluster.chance.below(5) {
        0 if room => {
            *last_id += 1;
            (ConfChangeKind::AddLearner, *last_id)
        }
        1 => (ConfChangeKind::Update, other),
        2 => (ConfChangeKind::Remove, other),
        _ => (ConfChangeKind::AddVoter, other),
    };
    cluster.change(any, kind, of);
}

/// What goes wrong in a tick.
fn upset(cluster: &mut Cluster, trouble: Trouble, any: u64, other: u64) {
    if trouble.crashes && cluster.chance.one_in(25) {
        match cluster.running(any).is_some() {
            true => cluster.crash(any),
            false => cluster.start(any),
        }
    }
    cluster.crash_at_install = trouble.crashes && cluster.chance.one_in(3);
    let now = cluster.now;
    if trouble.pauses && cluster.chance.one_in(40) {
        let until = now + cluster.chance.below(200);
        cluster.machines.get_mut(&other).unwrap().paused_until = until;
    }
    if trouble.stalls && cluster.chance.one_in(40) {
        let until = now + cluster.chance.below(250);
        cluster.machines.get_mut(&other).unwrap().stalled_until = until;
    }
    if trouble.clocks && cluster.chance.one_in(30) {
        // From a quarter as fast to twice as fast.
        let pace = 1 + cluster.chance.below(2 * PACE);
        cluster.machines.get_mut(&other).unwrap().pace = pace;
    }
    if trouble.cuts && cluster.chance.one_in(15) {
        match cluster.chance.one_in(2) {
            true => cluster.cut.clear(),
            false => drop(cluster.cut.insert((any, other))),
        }
    }
}

/// Runs as many seeds as `CONSENSUS_SEEDS` says, or so many, from `CONSENSUS_SEED` on.
fn seeds(count: u64) -> std::ops::Range<u64> {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let first = number("CONSENSUS_SEED").unwrap_or(0);
    first..first + number("CONSENSUS_SEEDS").unwrap_or(count)
}

/// Says which seed it was, if a run fails.
struct Failing {
    seed: u64,
    size: u64,
}

impl Drop for Failing {
    #[expect(clippy::print_stderr, reason = "the failing test's own words")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            let Self { seed, size } = self;
            eprintln!("CONSENSUS_SEED={seed} CONSENSUS_SEEDS=1 fails with {size} members");
        }
    }
}

fn every(count: u64, size: u64, ticks: u64, trouble: Trouble) -> u64 {
    let mut installed = 0;
    for seed in seeds(count) {
        let _names_the_seed = Failing { seed, size };
        installed += run(seed, size, ticks, trouble).snapshots_installed;
    }
    installed
}

#[test]
fn three_members_agree_whatever_the_network_does() {
    let trouble = Trouble {
        crashes: false,
        pauses: false,
        stalls: false,
        clocks: false,
        changes: false,
        ..ALL
    };
    every(30, 3, 300, trouble);
}

#[test]
fn three_members_agree_whatever_happens_to_them() {
    let trouble = Trouble {
        changes: false,
        ..ALL
    };
    let installed = every(40, 3, 300, trouble);
    let runs = seeds(40).count() as u64;
    assert!(
        installed >= runs / 2,
        "snapshots were among it: {installed}"
    );
}

#[test]
fn five_and_seven_members_agree_whatever_happens_to_them() {
    let trouble = Trouble {
        changes: false,
        ..ALL
    };
    every(15, 5, 250, trouble);
    every(6, 7, 250, trouble);
}

#[test]
fn members_that_come_and_go_in_all_this_agree_too() {
    every(50, 3, 400, ALL);
}

#[test]
fn a_seed_gives_the_same_run_twice() {
    let digest = |seed| {
        let cluster = run(seed, 3, 200, ALL);
        (cluster.messages_sent, cluster.now, cluster.handed_out)
    };
    assert_eq!(digest(3), digest(3));
}
