//! Any bytes as what a client sends after HTTP/2's preface.
#![no_main]

use cairn_server::fuzzing::http2;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| http2(bytes));
