//! Any bytes as a token, and as what one with a right signature says.
#![no_main]

use cairn_server::fuzzing::token;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| token(bytes));
