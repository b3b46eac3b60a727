//! Faults of a writer, planted into what it wrote.

use bytes::Bytes;
use cairn_consensus::LogIndex;

use super::*;
use crate::base::Base;
use crate::name::{BaseId, Sequence};
use crate::record::Record;
use crate::sealed::{open, seal};

fn run() -> Run {
    let run = Run::of(4, Faults::NONE);
    assert!(run.verify().is_ok());
    run
}

/// The objects of the newest timeline with entries, by their places.
fn records(run: &Run) -> Vec<(Sequence, String)> {
    let names = run.catalog().names;
    let after = run.catalog().bases().last().unwrap().timeline;
    let listed = run.store.list(&names.log_folder(), "").unwrap();
    let placed = listed
        .into_iter()
        .map(|name| (names.parse_log(&name).unwrap(), name));
    placed.filter(|(at, _)| *at > after).collect()
}

/// The first base of the newest timeline.
fn first_base(run: &Run) -> Base {
    let catalog = run.catalog();
    let timeline = catalog.bases().last().unwrap().timeline;
    let mut bases = catalog.bases().iter();
    bases
        .find(|base| base.timeline == timeline)
        .unwrap()
        .clone()
}

fn change_record(run: &Run, name: &str, change: impl FnOnce(&mut Record)) {
    run.store.tamper(name, |object| {
        let content = open(name, &object, run.key.as_ref()).unwrap().content;
        let mut record = Record::decode(name, content).unwrap();
        change(&mut record);
        let mut content = Vec::new();
        record.encode(&mut content);
        let sealed = seal(name, &content, run.key.as_ref(), [1; 12]);
        Some(sealed.unwrap().0)
    });
}

fn change_base(run: &Run, change: impl FnOnce(&mut Base)) {
    let base = first_base(run);
    let name = run.catalog().names.base(base.id);
    run.store.tamper(&name, |_| {
        let mut changed = base.clone();
        change(&mut changed);
        let sealed = seal(&name, &changed.encode(), run.key.as_ref(), [1; 12]);
        Some(sealed.unwrap().0)
    });
}

#[test]
fn an_object_that_is_lost_is_noticed() {
    let run = run();
    let records = records(&run);
    let (_, name) = &records[records.len() / 2];
    run.store.tamper(name, |_| None);
    let error = run.verify().unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("{name} is missing: later objects are there")
    );
}

#[test]
fn an_object_that_took_anothers_place_is_noticed() {
    let run = run();
    let records = records(&run);
    let [.., (_, before), (_, last)] = &records[..] else {
        panic!("too few objects");
    };
    let moved = run.store.get(last).unwrap().unwrap();
    run.store.tamper(before, |_| Some(moved));
    assert!(matches!(run.verify(), Err(Error::Damaged { .. })));
}

#[test]
fn entries_that_a_writer_left_out_are_noticed() {
    // The last object, so that no later one refers to it.
    let run = run();
    let (_, name) = records(&run).pop().unwrap();
    change_record(&run, &name, |record| {
        record.entries.remove(0);
        record.after.index = record.after.index.next();
    });
    assert!(matches!(run.verify(), Err(Error::NotThere(_))), "a gap");

    let run = self::run();
    let (_, name) = records(&run).pop().unwrap();
    change_record(&run, &name, |record| {
        let gone = record.entries.remove(0);
        // As if they followed.
        for entry in &mut record.entries {
            entry.entry.index = LogIndex::new(entry.entry.index.get() - 1);
        }
        for entry in &mut record.entries {
            entry.revision += u64::from(gone.revision == record.after.revision);
        }
    });
    assert!(
        matches!(run.verify(), Err(Error::Diverged { .. })),
        "another history"
    );
}

#[test]
fn a_base_that_is_newer_or_older_than_it_says_is_noticed() {
    for by in [-1_i64, 1] {
        let run = run();
        change_base(&run, |base| {
            let index = base.position.index.get();
            base.position.index = LogIndex::new(index.checked_add_signed(by).unwrap());
        });
        assert!(matches!(run.verify(), Err(Error::Diverged { .. })), "{by}");
    }
}

#[test]
fn a_base_that_says_it_is_followed_by_a_later_object_is_noticed() {
    let run = run();
    let base = first_base(&run);
    let names = run.catalog().names;
    let later = BaseId {
        resume: base.id.resume.next(),
        ..base.id
    };
    run.store.tamper(&names.base(base.id), |_| None);
    let sealed = seal(
        &names.base(later),
        &base.encode(),
        run.key.as_ref(),
        [1; 12],
    );
    run.store
        .put_new(&names.base(later), sealed.unwrap().0)
        .unwrap();
    for number in 0..base.parts {
        let (from, to) = (names.part(base.id, number), names.part(later, number));
        let object = run.store.get(&from).unwrap().unwrap();
        let content = open(&from, &object, run.key.as_ref()).unwrap().content;
        let sealed = seal(&to, &content, run.key.as_ref(), [1; 12]);
        run.store.put_new(&to, sealed.unwrap().0).unwrap();
    }
    assert!(matches!(run.verify(), Err(Error::Damaged { .. })));
}

#[test]
fn a_base_with_another_state_than_its_history_leads_to_is_noticed() {
    let run = run();
    let catalog = run.catalog();
    let [.., last] = catalog.bases() else {
        panic!("no base")
    };
    // The file of another base under the last one's name.
    let other = first_base(&run);
    if other.id == last.id {
        return;
    }
    let names = catalog.names;
    let from = names.part(other.id, 0);
    let object = run.store.get(&from).unwrap().unwrap();
    let content: Bytes = open(&from, &object, run.key.as_ref()).unwrap().content;
    let to = names.part(last.id, 0);
    run.store.tamper(&to, |_| {
        Some(seal(&to, &content, run.key.as_ref(), [1; 12]).unwrap().0)
    });
    assert!(matches!(run.verify(), Err(Error::Damaged { .. })));
}
