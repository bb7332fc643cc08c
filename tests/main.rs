//! All integration tests, one binary: one link, one run.
#![allow(unreachable_pub)] // `pub` between test modules
#![allow(clippy::unwrap_used)] // clippy's own exemption leaves out the helpers

mod client;
mod support;
