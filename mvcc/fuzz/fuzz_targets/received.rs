//! Any bytes as the database of another member.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../tests/it/any_bytes.rs"]
mod any_bytes;

fuzz_target!(|bytes: &[u8]| any_bytes::received(bytes));
