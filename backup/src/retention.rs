//! Deleting what is old.

use std::collections::VecDeque;
use std::time::Duration;

use crate::catalog::Catalog;
use crate::error::Error;
use crate::name::Names;
use crate::sealed::Key;
use crate::writer::{Around, Event};

/// How many objects are deleted in a step, so that entries need not wait.
const STEP_OBJECTS: usize = 32;

/// Which objects of a backup are too old.
///
/// The base that one needs to go back as far as is promised is kept, and everything after it. What a
/// base is goes before its pieces and entries, so a base that is listed is whole.
pub(crate) struct Retention {
    names: Names,
    time: Option<Duration>,
    is_due: bool,
    doomed: VecDeque<String>,
}

impl Retention {
    pub(crate) const fn new(names: Names, time: Option<Duration>) -> Self {
        Self {
            names,
            time,
            is_due: true,
            doomed: VecDeque::new(),
        }
    }

    /// There is a new base, so an old one may be too much.
    pub(crate) const fn wake(&mut self) {
        self.is_due = true;
    }

    /// Deletes some; whether there was something to do.
    pub(crate) fn step(&mut self, around: &Around<'_>, key: Option<&Key>) -> Result<bool, Error> {
        if self.is_due {
            self.doomed = self.find(around, key)?.into();
            self.is_due = false;
        }
        let mut objects = 0;
        while objects < STEP_OBJECTS
            && let Some(name) = self.doomed.front()
        {
            around.store.delete(name)?;
            self.doomed.pop_front();
            objects += 1;
        }
        if objects > 0 {
            around.environment.note(Event::Deleted { objects });
        }
        Ok(objects > 0)
    }

    fn find(&self, around: &Around<'_>, key: Option<&Key>) -> Result<Vec<String>, Error> {
        let Some(time) = self.time else {
            return Ok(Vec::new());
        };
        let promised = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let since = around.environment.now_ms().saturating_sub(promised);
        let catalog = Catalog::read(around.store, self.names.0, key)?;
        let old = |base: &&crate::base::Base| base.time_ms() <= since;
        let Some(kept) = catalog.bases().iter().rev().find(old) else {
            return Ok(Vec::new());
        };
        let kept = kept.id;
        let names = self.names;
        let mut doomed = Vec::new();
        let listed = around.store.list(&names.base_folder(), "")?;
        let is_old = |id: Option<crate::name::BaseId>| id.is_some_and(|id| id.resume < kept.resume);
        doomed.extend(
            listed
                .into_iter()
                .filter(|name| is_old(names.parse_base(name))),
        );
        let listed = around.store.list(&names.part_folder(), "")?;
        doomed.extend(
            listed
                .into_iter()
                .filter(|name| is_old(names.parse_part(name))),
        );
        let listed = around.store.list(&names.log_folder(), "")?;
        // The one before stays: where nothing was written since, it is the end of the sequence.
        let is_old = |name: &String| {
            let at = names.parse_log(name);
            at.is_some_and(|at| at.next() < kept.resume)
        };
        doomed.extend(listed.into_iter().filter(is_old));
        Ok(doomed)
    }
}
