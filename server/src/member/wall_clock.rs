//! Jumps of the wall clock. Leases, elections and time limits are measured by the clock that only
//! ever goes on; tokens, certificates and the times in the log and in the backup are not.

use std::time::{Duration, Instant, SystemTime};

/// What the wall clock may differ from the other between two looks before that is a jump: more than
/// whoever sets it by a network's time corrects.
const JUMP_MIN: Duration = Duration::from_secs(5);

/// Both clocks, as they were last seen.
#[derive(Clone, Copy, Debug)]
pub(super) struct WallClock {
    wall: SystemTime,
    steady: Instant,
}

/// By how much the wall clock has jumped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Jump {
    /// It went on by more than the time that has passed; also after a machine was suspended.
    Forward(Duration),
    /// It went back.
    Back(Duration),
}

impl WallClock {
    pub(super) const fn new(wall: SystemTime, steady: Instant) -> Self {
        Self { wall, steady }
    }

    /// Compares both clocks with what they were.
    pub(super) fn look(&mut self, wall: SystemTime, steady: Instant) -> Option<Jump> {
        let passed = steady.saturating_duration_since(self.steady);
        let before = std::mem::replace(self, Self { wall, steady });
        let jump = match wall.duration_since(before.wall) {
            Ok(shown) if shown >= passed => Jump::Forward(shown - passed),
            Ok(shown) => Jump::Back(passed - shown),
            Err(back) => Jump::Back(back.duration() + passed),
        };
        let (Jump::Forward(by) | Jump::Back(by)) = jump;
        (by >= JUMP_MIN).then_some(jump)
    }
}

/// Says so in the log.
pub(super) fn tell(jump: Jump) {
    let (direction, by) = match jump {
        Jump::Forward(by) => ("forward", by),
        Jump::Back(by) => ("back", by),
    };
    tracing::warn!(
        direction,
        seconds = by.as_secs(),
        "the wall clock has jumped, or the machine was suspended: signed tokens and certificates are \
         judged by it, so they may be refused, or hold for longer; leases and elections are not. See \
         whether this machine's time is right, and that of the other members"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const HOUR: Duration = Duration::from_secs(3600);

    #[test]
    fn clocks_that_go_on_together_do_not_jump_however_long_nobody_looks() {
        let (wall, steady) = (SystemTime::UNIX_EPOCH + 24 * HOUR, Instant::now());
        let mut clock = WallClock::new(wall, steady);
        for passed in [SECOND, SECOND + HOUR, SECOND + HOUR + SECOND] {
            assert_eq!(clock.look(wall + passed, steady + passed), None);
        }
        let corrected = wall + 2 * HOUR + 4 * SECOND;
        assert_eq!(clock.look(corrected, steady + 2 * HOUR), None);
    }

    #[test]
    fn a_jump_is_told_once_with_its_direction() {
        let (wall, steady) = (SystemTime::UNIX_EPOCH + 24 * HOUR, Instant::now());
        let mut clock = WallClock::new(wall, steady);
        let jump = clock.look(wall + HOUR + SECOND, steady + SECOND);
        assert_eq!(jump, Some(Jump::Forward(HOUR)));
        let after = clock.look(wall + HOUR + 2 * SECOND, steady + 2 * SECOND);
        assert_eq!(after, None);
        let back = clock.look(wall + 3 * SECOND, steady + 3 * SECOND);
        assert_eq!(back, Some(Jump::Back(HOUR)));
        let slow = clock.look(wall + 4 * SECOND, steady + 63 * SECOND);
        assert_eq!(slow, Some(Jump::Back(59 * SECOND)));
    }
}
