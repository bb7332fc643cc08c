//! All tests that see causeway from outside, in one binary.

mod config;
