//! From TOML, flags and environment to values that cannot be wrong.
//!
//! `source` gathers text (file, flags, environment) into one tree in which every value knows where it came from;
//! `compile` turns the tree into the [`model`], or into **all** its [`problem`]s at once. Nothing here sends a byte,
//! and nothing is accepted and ignored: a key that no line of `compile` reads is an error, and a variable that nobody
//! reads is told by [`strangers()`].

pub mod address;
mod advice;
pub mod certificate;
pub mod changes;
pub mod compile;
mod context;
pub mod document;
mod expand;
pub mod file;
pub mod here;
pub mod keys;
pub mod load;
pub mod model;
pub mod problem;
mod read;
pub mod source;
mod strangers;
mod syntax;
pub mod targets;
pub mod tree;
pub mod trust;
pub mod units;

pub use address::{Address, Endpoint, Host, ListenAddress};
pub use changes::{Change, What, changes};
pub use context::Known;
pub use load::{LoadError, Loaded, load};
pub use model::Config;
pub use problem::Problem;
pub use source::Flags;
pub use strangers::{NOTIFIED, strangers};
