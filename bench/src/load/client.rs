//! One logical client: sends, waits for the answer, sends again.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::load::Call;
use crate::load::exchange::Exchange;
use crate::load::gate::{Gate, Phase};
use crate::load::tally::Tally;

/// A client gives up at this many errors: the server is not in a state worth measuring.
const ERRORS_MAX: u32 = 10;
/// The slowest pace told apart from none at all.
const INTERVAL_MAX: Duration = Duration::from_secs(3600);

pub(super) struct Client {
    pub(super) exchange: Exchange,
    pub(super) next_call: Box<dyn FnMut(u64) -> Call>,
    pub(super) pace: Option<Pace>,
    pub(super) tally: Rc<RefCell<Tally>>,
    pub(super) gate: Arc<Gate>,
}

impl Client {
    pub(super) async fn run(mut self) {
        let mut errors = 0;
        while self.gate.phase() == Phase::Idle {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        if let Some(pace) = &mut self.pace {
            pace.start(Instant::now());
        }
        while errors < ERRORS_MAX {
            let start = match &mut self.pace {
                Some(pace) => pace.next_start().await,
                None => Instant::now(),
            };
            if self.gate.phase() == Phase::Stop {
                return;
            }
            let Some(ticket) = self.gate.ticket() else {
                return;
            };
            let Call { payload, kind } = (self.next_call)(ticket);
            let result = self.exchange.call(payload).await;
            let mut tally = self.tally.borrow_mut();
            match result {
                Ok(received) if self.gate.phase() == Phase::Measure => {
                    tally.success(kind, start.elapsed(), received);
                }
                Ok(_) => {}
                Err(error) => {
                    errors += 1;
                    tally.error(&error.to_string());
                }
            }
        }
    }
}

/// The due times of one client's requests.
#[derive(Debug)]
pub(super) struct Pace {
    interval: Duration,
    offset: Duration,
    due: Option<Instant>,
}

impl Pace {
    /// One of `clients` that send `rate` requests a second between them, evenly spread.
    #[expect(clippy::cast_precision_loss, reason = "numbers of clients are small")]
    pub(super) fn new(rate: f64, index: usize, clients: usize) -> Self {
        let seconds = |seconds: f64| {
            Duration::try_from_secs_f64(seconds)
                .unwrap_or(INTERVAL_MAX)
                .min(INTERVAL_MAX)
        };
        Self {
            interval: seconds(clients as f64 / rate),
            offset: seconds(index as f64 / rate),
            due: None,
        }
    }

    fn start(&mut self, now: Instant) {
        self.due = Some(now + self.offset);
    }

    /// When the next request starts: now if the last one made it late, and then timed from when
    /// it was due; else when it is due, and then timed from the waking, as a late timer is ours.
    async fn next_start(&mut self) -> Instant {
        let now = Instant::now();
        let due = self.due.unwrap_or(now);
        self.due = Some(due + self.interval);
        if due <= now {
            return due;
        }
        tokio::time::sleep_until(due.into()).await;
        Instant::now()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_share_a_rate_evenly() {
        let pace = Pace::new(100.0, 3, 10);
        assert_eq!(pace.interval, Duration::from_millis(100));
        assert_eq!(pace.offset, Duration::from_millis(30));
        assert_eq!(Pace::new(0.0, 1, 1).interval, INTERVAL_MAX);
    }

    #[tokio::test]
    async fn a_late_request_is_timed_from_when_it_was_due() {
        let mut pace = Pace::new(1.0, 0, 1);
        let began = Instant::now();
        let late = began.checked_sub(Duration::from_millis(2500)).unwrap();
        pace.start(late);
        assert_eq!(pace.next_start().await, late);
        assert_eq!(pace.next_start().await, late + Duration::from_secs(1));
    }
}
