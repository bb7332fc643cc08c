//! The door of the program: words in, exit code out. Everything else is in the library.
fn main() -> std::process::ExitCode {
    causeway::cli::main()
}
