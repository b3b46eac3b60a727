//! Ports for servers, which stay theirs when a server is killed and started again.

use std::fs::File;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

/// Below the ports that the kernel gives to outgoing connections (32768 and up on Linux), so that
/// no client takes the port of a server that is down.
const PORTS: Range<u16> = 20_000..32_000;

/// The ports of this process, each a locked file of its number, until the process ends. So
/// tests that run at once, in one process or in several, never share a port.
#[derive(Debug)]
struct Taken {
    next: u16,
    files: Vec<File>,
}

static TAKEN: Mutex<Taken> = Mutex::new(Taken {
    next: PORTS.start,
    files: Vec::new(),
});

/// An address on 127.0.0.1 that nobody listens at, for this process alone until it ends.
///
/// # Errors
///
/// The operating system's; [`ErrorKind::AddrInUse`] if no port is left.
pub fn free_address() -> std::io::Result<SocketAddr> {
    let mut taken = TAKEN.lock().unwrap_or_else(PoisonError::into_inner);
    let folder = std::env::temp_dir().join("cairn-test-ports");
    std::fs::create_dir_all(&folder)?;
    for _ in PORTS {
        let port = taken.next;
        taken.next = if port + 1 < PORTS.end {
            port + 1
        } else {
            PORTS.start
        };
        let file = File::options()
            .create(true)
            .append(true)
            .open(folder.join(port.to_string()))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(std::fs::TryLockError::WouldBlock) => continue,
            Err(std::fs::TryLockError::Error(error)) => return Err(error),
        }
        // Somebody may listen there who knows nothing of the files.
        match TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
            Ok(listener) => {
                taken.files.push(file);
                return listener.local_addr();
            }
            Err(error) if error.kind() == ErrorKind::AddrInUse => {}
            Err(error) => return Err(error),
        }
    }
    Err(ErrorKind::AddrInUse.into())
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn no_address_is_given_twice_and_all_can_be_listened_at() {
        let given: HashSet<_> = (0..50).map(|_| free_address().unwrap()).collect();
        assert_eq!(given.len(), 50);
        for address in given {
            TcpListener::bind(address).unwrap();
        }
    }
}
