//! Stand-in until the real `check` is joined.
#![allow(missing_docs, clippy::todo)]
#[derive(clap::Args, Debug)]
pub struct CheckArgs {}

#[must_use]
pub fn run(_: &CheckArgs) -> std::process::ExitCode {
    todo!("joined with the config room")
}
