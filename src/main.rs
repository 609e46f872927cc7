//! The `vizard` command.

fn main() -> std::process::ExitCode {
    vizard::cli::main()
}
