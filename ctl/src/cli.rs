//! The command line: the tree of commands, flags that read as Go's do, and what is said of a
//! line that makes no sense.

mod environment;
mod flags;
mod global;
mod hoist;
mod tree;
mod usage;

pub(crate) use self::environment::Environment;
pub(crate) use self::flags::{Flags, arguments, choice, duration, leaf, number, switch, text};
pub(crate) use self::global::Globals;
pub(crate) use self::hoist::hoist;
pub(crate) use self::tree::{group, help_of_group, tree};
pub(crate) use self::usage::{Refused, explain};
