//! The `cairn` binary; everything is the library's.
#![forbid(unsafe_code)]

use std::process::ExitCode;

/// Requests are many small allocations that one thread makes and another frees: the system's
/// allocator spends a sixth of a put on them.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    cairn_server::run()
}
