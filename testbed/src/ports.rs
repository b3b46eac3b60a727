//! Ports for servers, which stay theirs when a server is killed and started again.

use std::collections::VecDeque;
use std::fs::{File, TryLockError};
use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

/// Below the ports that the kernel gives to outgoing connections (32768 and up on Linux), so that
/// no client takes the port of a server that is down.
const PORTS: Range<u16> = 12_000..32_000;
/// Ports that a process takes at once.
const BLOCK: u16 = 100;

/// The ports of this process.
#[derive(Debug)]
struct Ports {
    /// Those of its last block that were not given yet.
    left: Range<u16>,
    /// Its blocks, oldest first, each with its file. The files are locked until the process ends, so
    /// that tests that run at once, in one process or in several, never share a port.
    blocks: VecDeque<(Range<u16>, File)>,
}

static PORTS_HERE: Mutex<Ports> = Mutex::new(Ports {
    left: 0..0,
    blocks: VecDeque::new(),
});

/// An address on 127.0.0.1 that nobody listens at, for this process alone until it ends.
///
/// # Errors
///
/// The operating system's; [`ErrorKind::AddrInUse`] if no port is left.
pub fn free_address() -> std::io::Result<SocketAddr> {
    let mut ports = PORTS_HERE.lock().unwrap_or_else(PoisonError::into_inner);
    for _ in 0..2 * PORTS.len() {
        let Some(port) = ports.left.next() else {
            let block = match lock_block() {
                Ok(block) => block,
                // Who needs many takes its oldest ones again, whose servers are likely gone.
                Err(error) => ports.blocks.pop_front().ok_or(error)?,
            };
            ports.left = block.0.clone();
            ports.blocks.push_back(block);
            continue;
        };
        // Somebody may listen there who knows nothing of the blocks.
        match TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
            Ok(listener) => return listener.local_addr(),
            Err(error) if error.kind() == ErrorKind::AddrInUse => {}
            Err(error) => return Err(error),
        }
    }
    Err(ErrorKind::AddrInUse.into())
}

/// The first block that no process has locked, and its file, locked.
fn lock_block() -> std::io::Result<(Range<u16>, File)> {
    let folder = std::env::temp_dir().join("cairn-test-ports");
    std::fs::create_dir_all(&folder)?;
    for first in PORTS.step_by(usize::from(BLOCK)) {
        let file = File::options()
            .create(true)
            .append(true)
            .open(folder.join(first.to_string()))?;
        match file.try_lock() {
            Ok(()) => return Ok((first..first + BLOCK, file)),
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(error)) => return Err(error),
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
        let given: HashSet<_> = (0..250).map(|_| free_address().unwrap()).collect();
        assert_eq!(given.len(), 250);
        for address in given {
            TcpListener::bind(address).unwrap();
        }
    }
}
