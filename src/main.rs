//! The `vizard` command.

/// Spares a tenth of the CPU of relaying, and gives memory back.
#[cfg(target_os = "linux")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> std::process::ExitCode {
    vizard::cli::main()
}
