//! Backups of simulated members, into a store that fails, delays, loses and lists what was before.
//!
//! For each seed: whatever the backup says it covers is got back, and is what members held at that
//! revision. Faults that a writer could have are planted, and must be found.

mod faulty_store;
mod history;
mod planted;

use std::cell::{Cell, RefCell};
use std::time::Duration;

use cairn_consensus::ClusterId;
use cairn_migrate::NoProgress;

use self::faulty_store::{Chance, Faults, FaultyStore};
use self::history::{Fingerprint, History};
use crate::tail::Tail;
use crate::{
    Around, Catalog, Environment, Error, Event, Key, Nonce, Replayed, Stop, Store, Target, Writer,
    WriterOptions, replay_any, verify,
};

const CLUSTER: ClusterId = ClusterId::new(7);

/// How many seeds are tried: `BACKUP_SEEDS`, or a few.
fn seeds() -> u64 {
    let asked = std::env::var("BACKUP_SEEDS").ok();
    asked.and_then(|it| it.parse().ok()).unwrap_or(3)
}

/// Clock, chance, and what the writer said.
struct World {
    now_ms: Cell<u64>,
    chance: RefCell<Chance>,
    covered: Cell<u64>,
    began: Cell<u64>,
    bases: Cell<u64>,
}

impl World {
    fn new(seed: u64) -> Self {
        Self {
            now_ms: Cell::new(1_000_000),
            chance: RefCell::new(Chance::new(seed)),
            covered: Cell::new(0),
            began: Cell::new(0),
            bases: Cell::new(0),
        }
    }

    fn pass(&self, ms: u64) {
        self.now_ms.set(self.now_ms.get() + ms);
    }
}

impl Environment for World {
    fn now_ms(&self) -> u64 {
        self.now_ms.get()
    }

    fn nonce(&self) -> Result<Nonce, Error> {
        let mut nonce = Nonce::default();
        nonce.fill_with(|| self.chance.borrow_mut().byte());
        Ok(nonce)
    }

    fn rest(&self, time: Duration) {
        self.pass(u64::try_from(time.as_millis()).unwrap());
    }

    fn goes_on(&self) -> bool {
        true
    }

    fn note(&self, event: Event<'_>) {
        match event {
            Event::Covered { index, .. } => self.covered.set(index.get()),
            Event::Began { .. } => self.began.set(self.began.get() + 1),
            Event::Base(_) => self.bases.set(self.bases.get() + 1),
            Event::Wrote { .. } | Event::Deleted { .. } | Event::Failed(_) => {}
        }
    }
}

fn options(key: Option<Key>) -> WriterOptions {
    WriterOptions {
        cluster: CLUSTER,
        interval: Duration::from_secs(2),
        segment_bytes: 2000,
        base_interval: Duration::from_secs(60),
        retention: None,
        key,
    }
}

/// Steps a writer until it has nothing to do, or fails.
fn settle(writer: &mut Writer, around: &Around<'_>) -> bool {
    for _ in 0..1000 {
        match writer.step(around) {
            Ok(crate::Step::Again) => {}
            Ok(_) => return true,
            Err(_) => return false,
        }
    }
    panic!("the writer never comes to rest");
}

/// Whatever it takes to have all in the backup.
fn cover(writer: &mut Writer, around: &Around<'_>, world: &World) {
    for _ in 0..100 {
        world.pass(3000);
        if settle(writer, around)
            && around
                .tail
                .lag(writer.covered().unwrap())
                .since_ms
                .is_none()
        {
            return;
        }
    }
    panic!("the backup never covers all");
}

/// A cluster that wrote through leaders that change and a store in trouble.
struct Run {
    history: History,
    store: FaultyStore,
    world: World,
    key: Option<Key>,
}

impl Run {
    fn of(seed: u64, faults: Faults) -> Self {
        let key = (seed % 2 == 1).then(|| Key::new(&[9; 32]).unwrap());
        let world = World::new(seed);
        let store = FaultyStore::new(seed, faults);
        let mut history = History::new(seed);
        // What two members remember, and what each writes.
        let mut tails = [history.tail(4000), history.tail(4000)];
        let mut writers = [0, 1].map(|_| Writer::new(options(key.clone())));
        let mut leader = 0;
        let mut chance = Chance::new(seed ^ 0xface);
        for _ in 0..120 {
            world.pass(chance.below(1500));
            history.go_on(&mut chance, world.now_ms.get(), &tails.each_ref());
            if chance.one_in(15) {
                leader = 1 - leader;
                writers[leader].rewind();
            }
            if chance.one_in(25) {
                tails[leader] = history.tail(4000);
                writers[leader] = Writer::new(options(key.clone()));
            }
            let around = around(&store, &tails[leader], &history, &world);
            settle(&mut writers[leader], &around);
        }
        store.recover();
        let around = around(&store, &tails[leader], &history, &world);
        writers[leader].rewind();
        cover(&mut writers[leader], &around, &world);
        Self {
            history,
            store,
            world,
            key,
        }
    }

    fn catalog(&self) -> Catalog {
        Catalog::read(&self.store, CLUSTER, self.key.as_ref()).unwrap()
    }

    fn get(&self, target: Target) -> Result<Fingerprint, Error> {
        let scratch = tempfile::tempdir().unwrap();
        let replayed = self.replay(target, scratch.path())?;
        let mut found = Fingerprint::of(replayed.store());
        if replayed.stop == Stop::Timeline {
            // More may have happened at that revision, and was lost with the entries after it.
            found.rows = None;
        }
        Ok(found)
    }

    fn replay(&self, target: Target, scratch: &std::path::Path) -> Result<Replayed, Error> {
        let key = self.key.as_ref();
        replay_any(
            &self.store,
            &self.catalog(),
            key,
            target,
            scratch,
            &mut NoProgress,
        )
    }

    fn verify(&self) -> Result<(), Error> {
        let scratch = tempfile::tempdir().unwrap();
        let key = self.key.as_ref();
        let catalog = self.catalog();
        verify(
            &self.store,
            &catalog,
            key,
            scratch.path(),
            &mut NoProgress,
            &mut |_| {},
        )
    }
}

fn around<'a>(
    store: &'a FaultyStore,
    tail: &'a Tail,
    history: &'a History,
    world: &'a World,
) -> Around<'a> {
    Around {
        store,
        tail,
        backend: history.backend(),
        environment: world,
    }
}

#[test]
fn whatever_revision_is_asked_for_is_as_members_had_it_or_is_said_not_to_be_there() {
    for seed in 0..seeds() {
        let run = Run::of(seed, Faults::ALL);
        let mut chance = Chance::new(seed);
        let last = run.history.revision();
        let mut there = 0;
        for _ in 0..8 {
            let revision = 1 + chance.below(last);
            match run.get(Target::Revision(revision)) {
                Ok(found) => {
                    run.history.check(seed, revision, &found);
                    there += 1;
                }
                Err(Error::NotThere(_)) => assert!(
                    run.world.began.get() > 1 || revision < run.catalog().bases()[0].revision(),
                    "seed {seed}, revision {revision}"
                ),
                Err(error) => panic!("seed {seed}, revision {revision}: {error}"),
            }
        }
        assert!(there > 0 || run.world.began.get() > 1, "seed {seed}");
        assert_eq!(run.world.covered.get(), run.history.index(), "seed {seed}");
        let found = run.get(Target::Latest).unwrap();
        run.history.check(seed, last, &found);
        run.verify()
            .unwrap_or_else(|error| panic!("seed {seed}: {error}"));
    }
}

#[test]
fn without_trouble_every_revision_since_the_first_base_is_there() {
    let run = Run::of(3, Faults::NONE);
    let first = run.catalog().bases()[0].revision();
    let last = run.history.revision();
    for revision in (first..=last).step_by(7) {
        match run.get(Target::Revision(revision)) {
            Ok(found) => run.history.check(3, revision, &found),
            Err(error) => assert!(run.world.began.get() > 1, "{error}"),
        }
    }
    assert!(run.world.bases.get() > 1);
}

#[test]
fn what_the_writer_says_is_covered_survives_the_cluster_at_any_moment() {
    for seed in 0..seeds() {
        let world = World::new(seed);
        let store = FaultyStore::new(seed, Faults::WITHOUT_LOSS);
        let mut history = History::new(seed);
        let tail = history.tail(1 << 20);
        let mut writer = Writer::new(options(None));
        let mut chance = Chance::new(seed);
        let moment = 5 + chance.below(60);
        for _ in 0..moment {
            world.pass(chance.below(1500));
            history.go_on(&mut chance, world.now_ms.get(), &[&tail]);
            settle(&mut writer, &around(&store, &tail, &history, &world));
        }
        let covered = world.covered.get();
        store.recover();
        let run = Run {
            history,
            store,
            world,
            key: None,
        };
        if covered == 0 {
            continue;
        }
        let scratch = tempfile::tempdir().unwrap();
        let replayed = run.replay(Target::Latest, scratch.path()).unwrap();
        assert!(
            replayed.index() >= covered,
            "seed {seed}: {} of {covered}",
            replayed.index()
        );
    }
}

#[test]
fn what_is_older_than_promised_is_deleted_and_the_rest_can_be_restored() {
    let world = World::new(1);
    let store = FaultyStore::new(1, Faults::NONE);
    let mut history = History::new(1);
    let tail = history.tail(1 << 20);
    let mut writer = Writer::new(WriterOptions {
        retention: Some(Duration::from_secs(150)),
        ..options(None)
    });
    let mut chance = Chance::new(1);
    let mut times = Vec::new();
    for _ in 0..600 {
        world.pass(1000);
        history.go_on(&mut chance, world.now_ms.get(), &[&tail]);
        times.push((world.now_ms.get(), history.revision()));
        settle(&mut writer, &around(&store, &tail, &history, &world));
    }
    let run = Run {
        history,
        store,
        world,
        key: None,
    };
    let bases = run.catalog().bases().len();
    assert!((3..6).contains(&bases), "{bases}");
    let objects = run.store.list("", "").unwrap().len();
    assert!(objects < 600, "{objects}");
    let promised = run.world.now_ms.get() - 150_000;
    let (time, revision) = *times.iter().find(|(time, _)| *time >= promised).unwrap();
    let found = run.get(Target::Revision(revision)).unwrap();
    run.history.check(1, revision, &found);
    let scratch = tempfile::tempdir().unwrap();
    let replayed = run.replay(Target::Time(time), scratch.path()).unwrap();
    assert_eq!(replayed.revision(), revision);
    let early = run.get(Target::Revision(2));
    assert!(matches!(early, Err(Error::NotThere(_))));
}

#[test]
fn a_member_that_starts_long_after_the_last_write_goes_on_where_the_backup_ends() {
    let world = World::new(1);
    let store = FaultyStore::new(1, Faults::NONE);
    let mut history = History::new(1);
    let mut chance = Chance::new(1);
    let options = WriterOptions {
        retention: Some(Duration::from_secs(150)),
        ..options(None)
    };
    for writes in [3, 0, 0, 3] {
        // Each finds old objects to delete, and nothing new to write.
        let tail = history.tail(1 << 20);
        let mut writer = Writer::new(options.clone());
        settle(&mut writer, &around(&store, &tail, &history, &world));
        for _ in 0..writes {
            world.pass(70_000);
            history.go_on(&mut chance, world.now_ms.get(), &[&tail]);
            settle(&mut writer, &around(&store, &tail, &history, &world));
        }
        cover(
            &mut writer,
            &around(&store, &tail, &history, &world),
            &world,
        );
        world.pass(1_000_000);
    }
    assert_eq!(world.began.get(), 1);
    assert_eq!(world.covered.get(), history.index());
}

#[test]
fn a_cluster_that_was_restored_does_not_go_on_with_the_backup_of_the_old_one() {
    let run = Run::of(2, Faults::NONE);
    let last = run.history.revision();
    // The same cluster ID, and a log that begins anew.
    let mut other = History::new(99);
    let tail = other.tail(1 << 20);
    let mut chance = Chance::new(5);
    let world = World::new(77);
    world.pass(1 << 30);
    while other.index() < run.history.index() + 20 {
        other.go_on(&mut chance, world.now_ms.get(), &[&tail]);
    }
    let mut writer = Writer::new(options(run.key.clone()));
    cover(
        &mut writer,
        &around(&run.store, &tail, &other, &world),
        &world,
    );
    assert_eq!(world.began.get(), 1);
    let restored = Run {
        history: other,
        ..run
    };
    let found = restored.get(Target::Latest).unwrap();
    restored
        .history
        .check(2, restored.history.revision(), &found);
    assert_ne!(restored.history.revision(), last);
    restored.verify().unwrap();
}
