//! What stands before a member's peer address, and lets through what others send to it: or not, or
//! not all of it, or not as it was.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;

/// A connection that has carried so much to the member carries a database: nothing else that the
/// tests have sent is as long.
const DATABASE_BYTES: usize = 1 << 20;

/// The way to one member.
pub(crate) struct Gate {
    address: SocketAddr,
    state: Arc<State>,
}

/// What is let through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rule {
    /// Everything.
    Pass,
    /// Nothing.
    Refuse,
    /// The next databases come to grief like this, so many of them.
    Spoil(Way, usize),
}

/// How a database comes to grief when part of it is through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// The connection breaks.
    Cut,
    /// One bit of it is flipped.
    Flip,
    /// Nothing more comes, until there is another rule.
    Hold,
}

struct State {
    member: SocketAddr,
    inner: Mutex<Inner>,
    changed: Condvar,
}

struct Inner {
    rule: Rule,
    spoilt: usize,
    streams: Vec<TcpStream>,
}

impl Gate {
    /// A gate before `member`, open.
    pub(crate) fn before(member: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State {
            member,
            inner: Mutex::new(Inner {
                rule: Rule::Pass,
                spoilt: 0,
                streams: Vec::new(),
            }),
            changed: Condvar::new(),
        });
        let keeper = Arc::clone(&state);
        thread::spawn(move || {
            for caller in listener.incoming() {
                keeper.admit(caller.unwrap());
            }
        });
        Self { address, state }
    }

    /// Where to knock.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Changes what is let through; what is open ends unless all may pass.
    pub(crate) fn set(&self, rule: Rule) {
        let mut inner = self.state.inner.lock().unwrap();
        inner.rule = rule;
        if rule == Rule::Refuse {
            for stream in inner.streams.drain(..) {
                let _ = stream.shutdown(Shutdown::Both);
            }
        }
        self.state.changed.notify_all();
    }

    /// How many databases came to grief.
    pub(crate) fn spoilt(&self) -> usize {
        self.state.inner.lock().unwrap().spoilt
    }
}

impl State {
    fn admit(self: &Arc<Self>, caller: TcpStream) {
        let mut inner = self.inner.lock().unwrap();
        let member = match inner.rule {
            Rule::Refuse => return,
            Rule::Pass | Rule::Spoil(..) => TcpStream::connect(self.member),
        };
        let Ok(member) = member else { return };
        let clone = |stream: &TcpStream| stream.try_clone().unwrap();
        inner.streams.extend([clone(&caller), clone(&member)]);
        drop(inner);
        let inwards = (Arc::clone(self), clone(&caller), clone(&member));
        thread::spawn(move || inwards.0.carry(inwards.1, inwards.2));
        thread::spawn(move || {
            let (mut from, mut to) = (member, caller);
            let _ = std::io::copy(&mut from, &mut to);
            let _ = to.shutdown(Shutdown::Both);
        });
    }

    /// Carries what is sent to the member.
    fn carry(&self, mut from: TcpStream, mut to: TcpStream) {
        let mut buffer = vec![0; 16 << 10];
        let (mut carried, mut may_spoil) = (0, true);
        while let Ok(bytes @ 1..) = from.read(&mut buffer) {
            carried += bytes;
            if carried > DATABASE_BYTES && may_spoil {
                may_spoil = false;
                match self.grief() {
                    None => {}
                    Some(Way::Flip) => buffer[bytes / 2] ^= 1,
                    Some(Way::Cut) => break,
                    Some(Way::Hold) => {
                        let held = |inner: &mut Inner| matches!(inner.rule, Rule::Spoil(..));
                        let inner = self.inner.lock().unwrap();
                        drop(self.changed.wait_while(inner, held).unwrap());
                        break;
                    }
                }
            }
            if to.write_all(&buffer[..bytes]).is_err() {
                break;
            }
        }
        let _ = to.shutdown(Shutdown::Both);
        let _ = from.shutdown(Shutdown::Both);
    }

    /// What is to become of the database that is under way.
    fn grief(&self) -> Option<Way> {
        let mut inner = self.inner.lock().unwrap();
        let Rule::Spoil(way, left @ 1..) = inner.rule else {
            return None;
        };
        inner.rule = Rule::Spoil(way, left - 1);
        inner.spoilt += 1;
        Some(way)
    }
}
