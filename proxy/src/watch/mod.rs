//! Watches: many of clients, one upstream for those that are equal.
//!
//! Equal are watchers of the same keys, filters and previous pairs, by the same token: so everybody hears
//! only what the cluster lets him hear. Of each set ([`class`]) there are *feeds* ([`feed`]): watches
//! upstream, each with the first revision that it may still bring. A watcher joins a feed that has not
//! passed the revision it begins at, or begins one; so nobody misses an event, and nobody hears one twice.
//!
//! - A feed whose connection breaks goes on where it was. Clients do not notice.
//! - A client that does not read leaves its feeds, and comes back where it was when it has read: others do
//!   not wait for it, and what waits for it is bounded.
//! - Progress is asked for upstream, and told when all feeds of a stream have brought all that was
//!   acknowledged before the client asked ([`progress`]).

mod class;
mod feed;
mod hub;
mod outlet;
mod progress;
mod stream;
mod watcher;

pub(crate) use self::hub::Hub;
pub(crate) use self::stream::answer;
