//! Chance from a seed, in streams: each concern draws from its own, so that one draw more in one
//! place changes nothing in another.

/// A stream of chance: SplitMix64, whose numbers are the same everywhere and for ever.
#[derive(Clone, Debug)]
pub(crate) struct Chance {
    state: u64,
}

impl Chance {
    /// The stream `name` of `seed`.
    pub(crate) fn new(seed: u64, name: &str) -> Self {
        let mut stream = Self { state: seed };
        for byte in name.bytes() {
            stream.state = stream.next() ^ u64::from(byte);
        }
        stream
    }

    /// The next number, evenly from all.
    pub(crate) fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.state ^ (self.state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// The next number below `bound`; 0 if `bound` is 0.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next().checked_rem(bound).unwrap_or(0)
    }

    /// The next number of `[low, high]`.
    pub(crate) fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high.saturating_sub(low).saturating_add(1))
    }

    /// Whether something happens that does in so many of a hundred cases.
    pub(crate) fn percent(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    /// One of `choices` by their weights; `None` if all are 0.
    pub(crate) fn weighted<'a, T>(&mut self, choices: &'a [(u64, T)]) -> Option<&'a T> {
        let total = choices.iter().map(|(weight, _)| weight).sum();
        let mut left = self.below(total);
        choices.iter().find_map(|(weight, choice)| {
            if left < *weight {
                return Some(choice);
            }
            left -= weight;
            None
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_of_one_seed_differ_and_repeat() {
        let draw = |name| Chance::new(7, name).next();
        assert_eq!(draw("network"), draw("network"));
        assert_ne!(draw("network"), draw("disk"));
    }

    #[test]
    fn a_choice_without_weight_is_never_taken() {
        let mut chance = Chance::new(1, "");
        let choices = [(0, 'a'), (3, 'b'), (1, 'c')];
        let drawn: String = (0..40).filter_map(|_| chance.weighted(&choices)).collect();
        assert!(!drawn.contains('a') && drawn.contains('b') && drawn.contains('c'));
        assert_eq!(chance.weighted(&[(0, 'a')]), None);
    }
}
