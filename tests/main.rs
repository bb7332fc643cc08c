//! The one test binary: a file for each promise.
#![allow(clippy::unwrap_used)]

mod simulation;
