//! Parses the command line and calls the library; no logic lives here.

use std::process::ExitCode;

/// Training and serving allocate from many threads; mimalloc measured a third faster than the system's allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    matryo::cli::main()
}
