//! All integration tests, in one binary: a file for each promise.

mod observe;
mod respond;
