//! The log in memory, against what it should hold.
