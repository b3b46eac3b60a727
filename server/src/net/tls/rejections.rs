//! The log of failed handshakes, which whoever can connect can cause: so many lines a second, and how
//! many were left out.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::server_tls::HandshakeError;
use crate::settings::TlsKind;

/// Lines in one window.
const LINES_MAX: u32 = 10;
const WINDOW: Duration = Duration::from_secs(1);

pub(super) struct Rejections {
    kind: TlsKind,
    window: Mutex<Window>,
}

/// What was said lately.
struct Window {
    begin: Instant,
    lines: u32,
    left_out: u64,
}

impl Window {
    /// Whether a line may be written at `now`; if so, how many were left out before it.
    fn line(&mut self, now: Instant) -> Option<u64> {
        if now.saturating_duration_since(self.begin) >= WINDOW {
            self.begin = now;
            self.lines = 0;
        }
        if self.lines == LINES_MAX {
            self.left_out += 1;
            return None;
        }
        self.lines += 1;
        Some(std::mem::take(&mut self.left_out))
    }
}

impl Rejections {
    pub(super) fn new(kind: TlsKind) -> Self {
        Self {
            kind,
            window: Mutex::new(Window {
                begin: Instant::now(),
                lines: 0,
                left_out: 0,
            }),
        }
    }

    /// Writes a line as etcd does, unless there are too many.
    pub(super) fn tell(
        &self,
        remote: Option<SocketAddr>,
        server_name: &str,
        error: &HandshakeError,
    ) {
        let Some(left_out) = self.window.lock().line(Instant::now()) else {
            return;
        };
        let remote_addr = remote.map_or_else(|| "@".to_owned(), |it| it.to_string());
        match self.kind {
            TlsKind::Client => tracing::warn!(
                remote_addr,
                server_name,
                %error,
                left_out,
                "rejected connection on client endpoint"
            ),
            TlsKind::Peer => tracing::warn!(
                remote_addr,
                server_name,
                %error,
                left_out,
                "rejected connection on peer endpoint"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_has_ten_lines_and_the_next_says_how_many_were_left_out() {
        let begin = Instant::now();
        let mut window = Window {
            begin,
            lines: 0,
            left_out: 0,
        };
        for _ in 0..LINES_MAX {
            assert_eq!(window.line(begin), Some(0));
        }
        for _ in 0..25 {
            assert_eq!(window.line(begin + WINDOW / 2), None);
        }
        assert_eq!(window.line(begin + WINDOW), Some(25));
        assert_eq!(window.line(begin + WINDOW), Some(0));
    }
}
