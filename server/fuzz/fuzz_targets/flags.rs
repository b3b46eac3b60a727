//! Any bytes as a command line and an environment.
#![no_main]

use cairn_server::fuzzing::flags;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| flags(bytes));
