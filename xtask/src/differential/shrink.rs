//! Makes a script that shows a difference as short as it gets.

use std::time::{Duration, Instant};

use anyhow::Result;

use super::step::Step;
use super::{Arena, Difference};

/// How long shrinking may take.
const SHRINK_MAX: Duration = Duration::from_secs(180);

/// The shortest script found that shows a difference, with the difference it shows.
pub(super) async fn shrink(
    arena: &Arena,
    script: Vec<Step>,
    difference: Difference,
) -> Result<(Vec<Step>, Difference)> {
    let mut shrinker = Shrinker {
        arena,
        shortest: script,
        difference,
        deadline: Instant::now() + SHRINK_MAX,
    };
    shrinker.cut_tail().await?;
    shrinker.drop_steps().await?;
    shrinker.simplify_steps().await?;
    shrinker.drop_steps().await?;
    Ok((shrinker.shortest, shrinker.difference))
}

struct Shrinker<'a> {
    arena: &'a Arena,
    shortest: Vec<Step>,
    difference: Difference,
    deadline: Instant,
}

impl Shrinker<'_> {
    /// Takes a candidate if it shows a difference still.
    async fn accept(&mut self, candidate: Vec<Step>) -> Result<bool> {
        if Instant::now() >= self.deadline {
            return Ok(false);
        }
        let Some(difference) = self.arena.compare(&candidate).await? else {
            return Ok(false);
        };
        self.shortest = candidate;
        self.difference = difference;
        Ok(true)
    }

    async fn cut_tail(&mut self) -> Result<()> {
        let mut candidate = self.shortest.clone();
        candidate.truncate(self.difference.at + 1);
        if candidate.len() < self.shortest.len() {
            self.accept(candidate).await?;
        }
        Ok(())
    }

    /// Leaves out stretches of steps, long ones first.
    async fn drop_steps(&mut self) -> Result<()> {
        let mut stretch = self.shortest.len() / 2;
        while stretch > 0 {
            let mut end = self.shortest.len();
            while end > 0 {
                let start = end.saturating_sub(stretch);
                let mut candidate = self.shortest.clone();
                candidate.drain(start..end);
                self.accept(candidate).await?;
                end = start.min(self.shortest.len());
            }
            stretch /= 2;
        }
        Ok(())
    }

    async fn simplify_steps(&mut self) -> Result<()> {
        let mut at = 0;
        while let Some(step) = self.shortest.get(at) {
            let mut simplified = false;
            for simpler in step.simpler() {
                let mut candidate = self.shortest.clone();
                if let Some(place) = candidate.get_mut(at) {
                    *place = simpler;
                }
                if self.accept(candidate).await? {
                    simplified = true;
                    break;
                }
            }
            if !simplified {
                at += 1;
            }
        }
        Ok(())
    }
}
