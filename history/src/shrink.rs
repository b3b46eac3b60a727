//! Makes a failing list of steps short.

/// The shortest list found that still fails: leaving out any one step of it makes it pass, unless
/// the tries ran out. `steps` itself is taken to fail and comes back if nothing shorter does.
///
/// This is delta debugging's ddmin (Zeller and Hildebrandt, 2002): complements of ever smaller
/// pieces are tried, large ones first. `fails` is called at most `tries_max` times; a predicate that is
/// not the same each time costs length, never soundness, for what comes back did fail once.
pub fn shrink<T: Clone>(
    steps: &[T],
    tries_max: usize,
    mut fails: impl FnMut(&[T]) -> bool,
) -> Vec<T> {
    let mut shortest = steps.to_vec();
    let mut tries = 0;
    let mut pieces = 2_usize;
    while !shortest.is_empty() {
        pieces = pieces.min(shortest.len());
        let size = shortest.len().div_ceil(pieces);
        let mut shorter = None;
        // The end first: what comes after the failure is of no use to it.
        for piece in (0..shortest.len().div_ceil(size)).rev() {
            if tries == tries_max {
                return shortest;
            }
            tries += 1;
            let without: Vec<T> = shortest
                .iter()
                .enumerate()
                .filter(|(at, _)| at / size != piece)
                .map(|(_, step)| step.clone())
                .collect();
            if fails(&without) {
                shorter = Some(without);
                break;
            }
        }
        match shorter {
            Some(without) => {
                shortest = without;
                pieces = pieces.saturating_sub(1).max(2);
            }
            None if size == 1 => return shortest,
            None => pieces = pieces.saturating_mul(2),
        }
    }
    shortest
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_needed_stays_in_order_and_nothing_else(
            needed in proptest::collection::btree_set(0..200_u32, 0..6),
        ) {
            let steps: Vec<u32> = (0..200).collect();
            let fails = |steps: &[u32]| needed.iter().all(|step| steps.contains(step));
            let short = shrink(&steps, usize::MAX, fails);
            prop_assert_eq!(short, needed.into_iter().collect::<Vec<_>>());
        }
    }

    #[test]
    fn no_more_is_tried_than_allowed() {
        let steps: Vec<u32> = (0..64).collect();
        let mut tries = 0;
        let short = shrink(&steps, 3, |steps| {
            tries += 1;
            steps.contains(&7)
        });
        assert_eq!(tries, 3);
        assert!(short.contains(&7));
        assert!(short.len() < 64);
    }

    #[test]
    fn a_pair_that_only_fails_together_is_found_quickly() {
        let steps: Vec<u32> = (0..1000).collect();
        let mut tries = 0;
        let short = shrink(&steps, usize::MAX, |steps| {
            tries += 1;
            steps.contains(&13) && steps.contains(&905)
        });
        assert_eq!(short, [13, 905]);
        assert!(tries < 200, "{tries}");
    }
}
