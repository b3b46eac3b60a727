//! raft-rs message types on prost 0.14.
