//! A place where clients connect: an address or a socket file.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use super::socket::Accepted;
use crate::settings::ListenAddress;

/// Connections that the system may hold before they are accepted.
const BACKLOG: i32 = 4096;

/// How sockets are opened.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct SocketOptions {
    /// `--socket-reuse-port`: other processes may listen at the same address.
    pub reuse_port: bool,
}

/// A bound listener that belongs to no runtime yet.
pub(super) enum Bound {
    Tcp(std::net::TcpListener),
    Unix(std::os::unix::net::UnixListener, SocketFile),
}

/// A listener of this runtime.
pub(super) enum Listener {
    Tcp(tokio::net::TcpListener),
    /// The file is removed with the listener.
    Unix {
        listener: tokio::net::UnixListener,
        _file: SocketFile,
    },
}

/// Where a listener ended up, which for port 0 is the system's choice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum BoundAddress {
    /// An address and port.
    Tcp(SocketAddr),
    /// A socket file.
    Unix(PathBuf),
}

impl fmt::Display for BoundAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => path.display().fmt(f),
        }
    }
}

/// A socket file, removed with its listener.
pub(super) struct SocketFile(PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

impl Bound {
    pub(super) fn bind(address: &ListenAddress, options: SocketOptions) -> io::Result<Self> {
        match address {
            ListenAddress::Tcp(address) => bind_tcp(*address, options).map(Self::Tcp),
            ListenAddress::Unix(path) => {
                remove_stale_socket(path)?;
                let listener = std::os::unix::net::UnixListener::bind(path)?;
                listener.set_nonblocking(true)?;
                Ok(Self::Unix(listener, SocketFile(path.clone())))
            }
        }
    }

    pub(super) fn address(&self) -> io::Result<BoundAddress> {
        match self {
            Self::Tcp(listener) => listener.local_addr().map(BoundAddress::Tcp),
            Self::Unix(_, file) => Ok(BoundAddress::Unix(file.0.clone())),
        }
    }

    /// Makes the current runtime accept from it.
    pub(super) fn into_listener(self) -> io::Result<Listener> {
        match self {
            Self::Tcp(listener) => tokio::net::TcpListener::from_std(listener).map(Listener::Tcp),
            Self::Unix(listener, file) => Ok(Listener::Unix {
                listener: tokio::net::UnixListener::from_std(listener)?,
                _file: file,
            }),
        }
    }
}

impl Listener {
    pub(super) async fn accept(&self) -> io::Result<Accepted> {
        match self {
            Self::Tcp(listener) => {
                let (stream, _) = listener.accept().await?;
                stream.into_std().map(Accepted::Tcp)
            }
            Self::Unix { listener, .. } => {
                let (stream, _) = listener.accept().await?;
                stream.into_std().map(Accepted::Unix)
            }
        }
    }
}

fn bind_tcp(address: SocketAddr, options: SocketOptions) -> io::Result<std::net::TcpListener> {
    let socket = socket2::Socket::new(
        socket2::Domain::for_address(address),
        socket2::Type::STREAM,
        None,
    )?;
    // A restarted server must not wait for its old connections to be forgotten.
    socket.set_reuse_address(true)?;
    if options.reuse_port {
        socket.set_reuse_port(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// A server that was killed leaves its socket file behind, and a second bind would fail on it. A
/// file that is no socket is somebody else's and stays.
fn remove_stale_socket(path: &Path) -> io::Result<()> {
    match std::fs::symlink_metadata(path) {
        Ok(found) if found.file_type().is_socket() => {
            if std::os::unix::net::UnixStream::connect(path).is_ok() {
                return Err(io::ErrorKind::AddrInUse.into());
            }
            std::fs::remove_file(path)
        }
        Ok(_) => Err(io::ErrorKind::AlreadyExists.into()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}
