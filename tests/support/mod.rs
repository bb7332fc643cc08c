//! What tests share: nothing here asserts a promise.

pub mod certificates;
pub mod chromium;
pub mod full;
pub mod h2;
pub mod origin;
pub mod process;
pub mod proxy;
pub mod raw;
pub mod schema;
pub mod source;
pub mod tls_origin;
