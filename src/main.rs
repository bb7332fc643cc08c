//! The door of the program: words in, exit code out. Everything else is in the library.
#[global_allocator]
static ALLOCATOR: causeway::sys::Allocator = causeway::sys::Allocator;

fn main() -> std::process::ExitCode {
    causeway::cli::main()
}
