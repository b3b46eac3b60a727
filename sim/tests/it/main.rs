//! The simulator itself, proved: a seed is always the same run, and every planted bug is found.
#![forbid(unsafe_code)]

mod planted;
mod replay;
