//! What tests share: nothing here asserts a promise.

pub mod origin;
pub mod raw;
