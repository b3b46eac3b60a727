//! What the service manager is told: systemd's protocol of datagrams to the socket that it names in
//! `NOTIFY_SOCKET`.
//!
//! Source: `sd_notify(3)`, `sd_watchdog_enabled(3)`.

use std::ffi::OsString;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

/// The way to the service manager, if there is one that wants to know.
#[derive(Debug, Default)]
pub(super) struct ServiceManager {
    socket: Option<UnixDatagram>,
    watchdog: Option<Duration>,
}

impl ServiceManager {
    /// The one that the environment names. One that cannot be reached is logged, and told nothing: the
    /// member serves all the same.
    pub(super) fn of_environment() -> Self {
        let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        let Some(address) = variable("NOTIFY_SOCKET") else {
            return Self::default();
        };
        match connect(&address) {
            Ok(socket) => Self {
                socket: Some(socket),
                watchdog: watchdog(
                    variable("WATCHDOG_USEC"),
                    variable("WATCHDOG_PID"),
                    std::process::id(),
                ),
            },
            Err(error) => {
                let address = address.to_string_lossy();
                tracing::warn!(%error, %address, "failed to reach the service manager");
                Self::default()
            }
        }
    }

    /// The member serves.
    pub(super) fn ready(&self) {
        self.tell("READY=1");
    }

    /// The member has begun to stop.
    pub(super) fn stopping(&self) {
        self.tell("STOPPING=1\nSTATUS=stopping");
    }

    /// What the member does, for people.
    pub(super) fn status(&self, text: &str) {
        self.tell(&format!("STATUS={text}"));
    }

    /// The member is well.
    pub(super) fn alive(&self) {
        self.tell("WATCHDOG=1");
    }

    /// How long it may be silent before it is killed, if the manager watches.
    pub(super) const fn watchdog(&self) -> Option<Duration> {
        self.watchdog
    }

    /// A manager that takes nothing is no reason to stop, or to wait.
    fn tell(&self, text: &str) {
        if let Some(socket) = &self.socket
            && let Err(error) = socket.send(text.as_bytes())
        {
            tracing::debug!(%error, "the service manager takes no notice");
        }
    }
}

/// A path, or a name of Linux's abstract sockets, which begins with `@`.
fn connect(address: &OsString) -> io::Result<UnixDatagram> {
    let address = match address.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        [b'/', ..] => SocketAddr::from_pathname(address)?,
        _ => {
            let text = "neither a path nor an abstract name";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
    };
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    socket.connect_addr(&address)?;
    Ok(socket)
}

/// The time that `WATCHDOG_USEC` names, if it is meant for this process.
fn watchdog(usec: Option<OsString>, pid: Option<OsString>, own: u32) -> Option<Duration> {
    let number = |value: OsString| value.to_str()?.parse::<u64>().ok();
    if let Some(pid) = pid
        && number(pid) != Some(own.into())
    {
        return None;
    }
    let usec = number(usec?).filter(|usec| *usec > 0)?;
    Some(Duration::from_micros(usec))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_at_paths_and_abstract_ones_are_told() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notify");
        let name = format!("@cairn-notify-{}", std::process::id());
        let at_path = UnixDatagram::bind(&path).unwrap();
        let address = SocketAddr::from_abstract_name(&name.as_bytes()[1..]).unwrap();
        let abstract_one = UnixDatagram::bind_addr(&address).unwrap();
        for (address, receiver) in [(path.into(), at_path), (name.into(), abstract_one)] {
            let manager = ServiceManager {
                socket: Some(connect(&address).unwrap()),
                watchdog: None,
            };
            manager.status("waiting for a quorum");
            manager.ready();
            manager.alive();
            manager.stopping();
            for expected in [
                "STATUS=waiting for a quorum",
                "READY=1",
                "WATCHDOG=1",
                "STOPPING=1\nSTATUS=stopping",
            ] {
                let mut received = [0; 100];
                let length = receiver.recv(&mut received).unwrap();
                assert_eq!(&received[..length], expected.as_bytes());
            }
        }
        assert!(connect(&"relative".into()).is_err());
    }

    #[test]
    fn the_watchdog_is_this_process_s_or_nobody_s() {
        let text = |text: &str| Some(OsString::from(text));
        let second = Some(Duration::from_secs(1));
        for (usec, pid, expected) in [
            (text("1000000"), None, second),
            (text("1000000"), text("7"), second),
            (text("1000000"), text("8"), None),
            (text("1000000"), text("x"), None),
            (text("0"), None, None),
            (text("x"), None, None),
            (None, None, None),
        ] {
            assert_eq!(watchdog(usec, pid, 7), expected);
        }
    }
}
