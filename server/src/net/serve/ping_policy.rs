//! Which clients ping too often: gRPC's rule for servers, as a state machine without clock or I/O.
//!
//! A client's pings keep a connection alive through proxies; more of them than that is load for
//! nothing. A ping is a strike if it comes sooner after the one before than the server allows:
//! `--grpc-keepalive-min-time` while a call is open, two hours otherwise. Whatever the server sends
//! for a call forgives all strikes, since clients measure their bandwidth with pings as they
//! receive. After the third strike in a row the client is sent away.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use super::frames::{ACK, DATA, END_STREAM, FrameFollower, FrameHead, HEADERS, PING, RST_STREAM};

/// Strikes that are forgiven.
const STRIKES_MAX: u8 = 2;
/// Time between two pings of a client without any call.
const IDLE_INTERVAL_MIN: Duration = Duration::from_secs(2 * 3600);

/// What to do with a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Serve,
    SendAway,
}

/// Follows both directions of one HTTP/2 connection, from after the client's preface.
///
/// Invariants:
/// 1. `open` holds streams that the client has begun and neither side has ended for the server:
///    a call is open until its answer has been sent.
/// 2. `strikes <= STRIKES_MAX + 1`.
#[derive(Debug)]
pub(super) struct PingPolicy {
    interval_min: Duration,
    received: FrameFollower,
    sent: FrameFollower,
    open: HashSet<u32>,
    newest_stream: u32,
    last_ping: Option<Instant>,
    strikes: u8,
    forgiven: bool,
}

impl PingPolicy {
    pub(super) fn new(interval_min: Duration) -> Self {
        Self {
            interval_min,
            received: FrameFollower::default(),
            sent: FrameFollower::default(),
            open: HashSet::new(),
            newest_stream: 0,
            last_ping: None,
            strikes: 0,
            forgiven: false,
        }
    }

    /// Sees bytes that the client sent. The clock is read for pings alone.
    pub(super) fn receive(&mut self, bytes: &[u8], clock: impl Fn() -> Instant) -> Verdict {
        let mut follower = std::mem::take(&mut self.received);
        follower.follow(bytes, |head| self.check(head, &clock));
        self.received = follower;
        if self.strikes > STRIKES_MAX {
            Verdict::SendAway
        } else {
            Verdict::Serve
        }
    }

    /// Sees bytes that the server sent; returns how many streams are reset by them.
    pub(super) fn send(&mut self, bytes: &[u8]) -> u64 {
        let mut resets = 0;
        let Self {
            sent,
            open,
            forgiven,
            ..
        } = self;
        sent.follow(bytes, |head| match head.kind {
            DATA | HEADERS => {
                *forgiven = true;
                if head.flags & END_STREAM != 0 {
                    open.remove(&head.stream);
                }
            }
            RST_STREAM => {
                resets += 1;
                open.remove(&head.stream);
            }
            _ => {}
        });
        resets
    }

    /// Whether a frame of our own may be sent now.
    pub(super) const fn may_interject(&self) -> bool {
        self.sent.is_between_frames()
    }

    /// The last stream that the client began, as GOAWAY names it.
    pub(super) const fn newest_stream(&self) -> u32 {
        self.newest_stream
    }

    fn check(&mut self, head: FrameHead, clock: &impl Fn() -> Instant) {
        match head.kind {
            // Later HEADERS of a stream are trailers.
            HEADERS if head.stream > self.newest_stream => {
                self.newest_stream = head.stream;
                self.open.insert(head.stream);
            }
            RST_STREAM => {
                self.open.remove(&head.stream);
            }
            PING if head.flags & ACK == 0 => self.check_ping(clock()),
            _ => {}
        }
    }

    fn check_ping(&mut self, now: Instant) {
        let interval_min = if self.open.is_empty() {
            IDLE_INTERVAL_MIN
        } else {
            self.interval_min
        };
        let last = self.last_ping.replace(now);
        if std::mem::take(&mut self.forgiven) {
            self.strikes = 0;
        } else if last.is_some_and(|last| now.duration_since(last) < interval_min)
            && self.strikes <= STRIKES_MAX
        {
            self.strikes += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIN: Duration = Duration::from_secs(5);

    /// A connection with a clock.
    struct Client {
        policy: PingPolicy,
        now: Instant,
    }

    fn frame(kind: u8, flags: u8, stream: u8) -> Vec<u8> {
        let payload = match kind {
            PING => 8,
            RST_STREAM => 4,
            _ => 0,
        };
        let mut bytes = vec![0, 0, payload, kind, flags, 0, 0, 0, stream];
        bytes.extend(std::iter::repeat_n(0, payload.into()));
        bytes
    }

    impl Client {
        fn new() -> Self {
            Self {
                policy: PingPolicy::new(MIN),
                now: Instant::now(),
            }
        }

        fn with_a_call() -> Self {
            let mut client = Self::new();
            client.sends(HEADERS, 0, 1);
            client
        }

        fn sends(&mut self, kind: u8, flags: u8, stream: u8) -> Verdict {
            let now = self.now;
            self.policy.receive(&frame(kind, flags, stream), || now)
        }

        fn is_sent(&mut self, kind: u8, flags: u8, stream: u8) {
            self.policy.send(&frame(kind, flags, stream));
        }

        /// How many pings, `interval` apart, are answered before the client is sent away.
        fn pings(&mut self, interval: Duration, count_max: usize) -> usize {
            for count in 0..count_max {
                self.now += interval;
                if self.sends(PING, 0, 0) == Verdict::SendAway {
                    return count;
                }
            }
            count_max
        }
    }

    #[test]
    fn the_fourth_fast_ping_is_one_too_many() {
        // The first ping has none before it, the next two are strikes that are forgiven.
        let mut client = Client::with_a_call();
        assert_eq!(client.pings(Duration::from_secs(1), 10), 3);
        assert_eq!(client.sends(PING, 0, 0), Verdict::SendAway);
    }

    #[test]
    fn pings_as_far_apart_as_allowed_go_on_for_ever() {
        assert_eq!(Client::with_a_call().pings(MIN, 1000), 1000);
    }

    #[test]
    fn a_client_without_calls_may_hardly_ping_at_all() {
        assert_eq!(Client::new().pings(Duration::from_secs(60), 10), 3);
        assert_eq!(Client::new().pings(IDLE_INTERVAL_MIN, 10), 10);
    }

    #[test]
    fn a_call_is_open_until_its_answer_ends_or_either_side_resets_it() {
        for end in [
            |client: &mut Client| client.is_sent(HEADERS, END_STREAM, 1),
            |client: &mut Client| client.is_sent(DATA, END_STREAM, 1),
            |client: &mut Client| client.is_sent(RST_STREAM, 0, 1),
            |client: &mut Client| {
                client.sends(RST_STREAM, 0, 1);
            },
        ] {
            let mut client = Client::with_a_call();
            // The client being done with its request leaves the call open.
            client.sends(DATA, END_STREAM, 1);
            assert_eq!(client.pings(MIN, 10), 10);
            end(&mut client);
            // The first ping may be forgiven, for an answer was sent; four more are not.
            assert!(client.pings(MIN, 10) <= 4);
        }
    }

    #[test]
    fn what_the_server_sends_for_a_call_forgives_all_strikes() {
        for kind in [DATA, HEADERS] {
            let mut client = Client::with_a_call();
            for _ in 0..100 {
                assert_eq!(client.pings(Duration::from_millis(1), 2), 2);
                client.is_sent(kind, 0, 1);
            }
        }
        let mut client = Client::with_a_call();
        client.is_sent(PING, ACK, 0);
        assert_eq!(client.pings(Duration::from_millis(1), 10), 3);
    }

    #[test]
    fn answers_to_our_own_pings_are_no_pings() {
        let mut client = Client::with_a_call();
        for _ in 0..100 {
            assert_eq!(client.sends(PING, ACK, 0), Verdict::Serve);
        }
    }
}
