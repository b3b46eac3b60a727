//! Which member a connection goes to, by the rules of SRV records (RFC 2782): those of the lowest priority
//! number that are there; among them by weight, and in turn where none has a weight.

use rand::{Rng, RngExt as _};

/// A member, as the gateway reaches it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Remote {
    /// Lower ones are preferred.
    pub priority: u16,
    /// How much of the connections it gets among its equals.
    pub weight: u16,
    /// Host and port.
    pub address: String,
}

/// A member's place in the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RemoteId(usize);

/// All members, and which of them were there when last tried.
pub(super) struct Choice {
    remotes: Vec<(Remote, bool)>,
    turn: usize,
}

impl Choice {
    /// All of them count as there.
    pub(super) fn new(remotes: Vec<Remote>) -> Self {
        Self {
            remotes: remotes.into_iter().map(|remote| (remote, true)).collect(),
            turn: 0,
        }
    }

    pub(super) fn addresses(&self) -> Vec<String> {
        let remotes = self.remotes.iter();
        remotes.map(|(remote, _)| remote.address.clone()).collect()
    }

    /// The member for the next connection; none if none is there.
    pub(super) fn pick(&mut self, random: &mut impl Rng) -> Option<(RemoteId, String)> {
        let active = || {
            self.remotes
                .iter()
                .enumerate()
                .filter(|(_, (_, active))| *active)
        };
        let best = active().map(|(_, (remote, _))| remote.priority).min()?;
        let equals: Vec<(usize, &Remote)> = active()
            .map(|(number, (remote, _))| (number, remote))
            .filter(|(_, remote)| remote.priority == best)
            .collect();
        let weights: u32 = equals
            .iter()
            .map(|(_, remote)| u32::from(remote.weight))
            .sum();
        let (number, remote) = if weights == 0 {
            *equals.get(self.turn % equals.len())?
        } else {
            // One without a weight gets a connection now and then.
            let drawn = random.random_range(0..=weights);
            let mut reached = 0;
            *equals.iter().find(|(_, remote)| {
                reached += u32::from(remote.weight);
                reached >= drawn
            })?
        };
        let picked = (RemoteId(number), remote.address.clone());
        self.turn = self.turn.wrapping_add(1);
        Some(picked)
    }

    pub(super) fn inactive(&self) -> Vec<(RemoteId, String)> {
        let numbered = self.remotes.iter().enumerate();
        numbered
            .filter(|(_, (_, active))| !active)
            .map(|(number, (remote, _))| (RemoteId(number), remote.address.clone()))
            .collect()
    }

    pub(super) fn activate(&mut self, id: RemoteId) {
        self.set(id, true);
    }

    pub(super) fn deactivate(&mut self, id: RemoteId) {
        self.set(id, false);
    }

    fn set(&mut self, id: RemoteId, is_active: bool) {
        if let Some((_, active)) = self.remotes.get_mut(id.0) {
            *active = is_active;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use rand::SeedableRng as _;
    use rand::rngs::StdRng;

    use super::*;

    fn remote(address: &str, priority: u16, weight: u16) -> Remote {
        Remote {
            priority,
            weight,
            address: address.to_owned(),
        }
    }

    fn picks(choice: &mut Choice, count: usize) -> BTreeMap<String, usize> {
        let mut random = StdRng::seed_from_u64(1);
        let mut found = BTreeMap::new();
        for _ in 0..count {
            let (_, address) = choice.pick(&mut random).unwrap();
            *found.entry(address).or_default() += 1;
        }
        found
    }

    #[test]
    fn members_without_weights_have_their_turns() {
        let remotes = ["a", "b", "c"].map(|address| remote(address, 0, 0));
        let found = picks(&mut Choice::new(remotes.into()), 9);
        assert!(found.values().all(|count| *count == 3), "{found:?}");
        assert_eq!(found.len(), 3);
    }

    #[test]
    fn weights_divide_the_connections() {
        let remotes = vec![remote("a", 0, 10), remote("b", 0, 30), remote("z", 0, 0)];
        let found = picks(&mut Choice::new(remotes), 4000);
        assert!((800..1200).contains(&found["a"]), "{found:?}");
        assert!((2700..3300).contains(&found["b"]), "{found:?}");
    }

    #[test]
    fn the_next_priority_serves_while_the_first_is_missing() {
        let remotes = vec![remote("a", 1, 0), remote("b", 2, 0)];
        let mut choice = Choice::new(remotes);
        assert_eq!(picks(&mut choice, 2), [("a".to_owned(), 2)].into());
        choice.deactivate(RemoteId(0));
        assert_eq!(picks(&mut choice, 2), [("b".to_owned(), 2)].into());
        choice.deactivate(RemoteId(1));
        assert!(choice.pick(&mut StdRng::seed_from_u64(1)).is_none());
        assert_eq!(choice.inactive().len(), 2);
        choice.activate(RemoteId(0));
        assert_eq!(picks(&mut choice, 2), [("a".to_owned(), 2)].into());
    }
}
