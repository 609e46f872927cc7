//! The `vizard` command.

/// Much of a message's cost is small allocations on several threads.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    vizard::cli::main()
}
