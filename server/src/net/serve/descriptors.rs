//! File descriptors: as many as the system allows, and some kept from clients.
//!
//! A member that has none left for its own files could not write its log, so clients get all but
//! [`RESERVED`].

use std::io;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Descriptors for the log, the database, listeners and runtimes.
const RESERVED: u64 = 150;
/// Connections if the system names no limit.
const CONNECTIONS_MAX: u64 = 1 << 20;

/// Raises the limit to what the system allows without asking anyone.
///
/// # Errors
///
/// The system's.
pub(crate) fn raise_descriptor_limit() -> io::Result<()> {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    Ok(setrlimit(Resource::Nofile, raised)?)
}

/// How many connections there may be at a time.
pub(super) fn connections_max() -> usize {
    let descriptors = getrlimit(Resource::Nofile)
        .current
        .unwrap_or(CONNECTIONS_MAX);
    let connections = descriptors
        .saturating_sub(RESERVED)
        .clamp(1, CONNECTIONS_MAX);
    usize::try_from(connections).unwrap_or(usize::MAX)
}
