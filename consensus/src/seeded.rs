//! Chance from a seed: a small generator whose numbers are the same everywhere and for ever.

/// The SplitMix64 generator.
#[derive(Clone, Debug)]
pub(crate) struct Seeded {
    state: u64,
}

impl Seeded {
    /// A generator that follows from `seed` alone.
    pub(crate) fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// The generator of one among several that may have seeds alike: two that drew the same numbers
    /// would stand for election in the same moments, for ever.
    pub(crate) fn of_member(seed: u64, member: u64) -> Self {
        Self::new(Self::new(seed).next() ^ member)
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
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sequence_is_splitmix64() {
        let mut chance = Seeded::new(0);
        assert_eq!(chance.next(), 0xE220_A839_7B1D_CDAF);
        assert_eq!(chance.next(), 0x6E78_9E6A_A1B9_65F4);
    }

    #[test]
    fn members_with_seeds_alike_draw_different_numbers() {
        let drawn: std::collections::BTreeSet<_> = (0..8)
            .flat_map(|seed| (1..8).map(move |member| (seed, member)))
            .map(|(seed, member)| Seeded::of_member(seed, member).next())
            .collect();
        assert_eq!(drawn.len(), 56);
    }
}
