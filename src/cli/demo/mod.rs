//! demo
#![allow(missing_docs)]
#[derive(clap::Args, Debug)]
pub struct DemoArgs {}
#[must_use]
pub fn run(_: &DemoArgs) -> std::process::ExitCode {
    todo!()
}
