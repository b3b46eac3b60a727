//! The network between members: what is lost, what comes twice, and when.

use std::collections::BTreeMap;

use cairn_history::{MemberId, Time};

use crate::chance::Chance;

/// A message's way when nothing is wrong, in nanoseconds.
const CALM_DELAY: (u64, u64) = (50_000, 1_000_000);

/// What the network does to messages at the moment.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Weather {
    /// How many of a hundred are lost.
    pub(crate) lost: u64,
    /// How many of a hundred come twice.
    pub(crate) twice: u64,
    /// The longest way, in nanoseconds.
    pub(crate) delay: u64,
}

/// The network between members. Messages overtake one another as their delays have it.
#[derive(Debug)]
pub(crate) struct Network {
    chance: Chance,
    /// How many faults cut each way from one member to another.
    cuts: BTreeMap<(MemberId, MemberId), u32>,
    weather: Weather,
}

impl Network {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            chance: Chance::new(seed, "network"),
            cuts: BTreeMap::new(),
            weather: Weather::default(),
        }
    }

    /// When copies of a message that leaves now arrive.
    pub(crate) fn arrivals(&mut self, now: Time, from: MemberId, to: MemberId) -> Vec<Time> {
        // Chance is drawn whatever happens, so that a cut changes nothing for later messages.
        let lost = self.chance.percent(self.weather.lost);
        let twice = self.chance.percent(self.weather.twice);
        let delays = [self.delay(), self.delay()];
        if lost || self.is_cut(from, to) {
            return Vec::new();
        }
        delays
            .into_iter()
            .take(if twice { 2 } else { 1 })
            .map(|delay| Time(now.0 + delay))
            .collect()
    }

    /// Whether a message that arrives now gets through.
    pub(crate) fn is_cut(&self, from: MemberId, to: MemberId) -> bool {
        self.cuts.get(&(from, to)).is_some_and(|cuts| *cuts > 0)
    }

    /// Cuts a way; each cut is healed by itself.
    pub(crate) fn cut(&mut self, from: MemberId, to: MemberId) {
        *self.cuts.entry((from, to)).or_default() += 1;
    }

    /// Takes back one [`Network::cut`].
    pub(crate) fn mend(&mut self, from: MemberId, to: MemberId) {
        if let Some(cuts) = self.cuts.get_mut(&(from, to)) {
            *cuts = cuts.saturating_sub(1);
        }
    }

    /// What happens to messages from now on.
    pub(crate) fn set_weather(&mut self, weather: Weather) {
        self.weather = weather;
    }

    /// Mends all.
    pub(crate) fn heal(&mut self) {
        self.cuts.clear();
        self.weather = Weather::default();
    }

    fn delay(&mut self) -> u64 {
        let (low, high) = CALM_DELAY;
        self.chance.between(low, high.max(self.weather.delay))
    }
}
