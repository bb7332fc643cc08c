//! All integration tests, one binary: one link, one run.
#![allow(unreachable_pub)] // `pub` between test modules

mod client;
mod support;
