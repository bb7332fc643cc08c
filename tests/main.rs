//! All integration tests, in one binary: a file for each promise.

mod respond;
