//! What tests share: nothing here asserts a promise.

pub mod source;
