//! Health: the rules, as a pure machine, and the word that readers share.
//!
//! [`machine`] decides (events and `now` in, a transition out); [`shared`] is the one atomic word that the request path
//! reads and the lock that writers take. Nothing here opens a socket or writes a log, and no rule reads a clock: time is
//! an argument.

pub mod machine;
pub mod shared;

pub use machine::{Event, Machine, Policy, State, Transition};
pub use shared::{Health, Snapshot};
