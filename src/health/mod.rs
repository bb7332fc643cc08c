//! Health: the rules, as a pure machine, and the word that readers share.
//!
//! [`machine`] decides from three lanes (checks, traffic, the operator's word): events and `now` in, a transition out.
//! [`shared`] is the one atomic word that the request path reads and the lock that writers take. [`idle_age`] learns
//! how long an upstream keeps idle connections. Nothing here opens a socket or writes a log, and no rule reads a clock:
//! time is an argument.

mod checks;
pub mod idle_age;
pub mod machine;
pub mod shared;
mod state;
mod told;
mod traffic;
mod word;

pub use idle_age::IdleAge;
pub use machine::{Event, Machine, Policy};
pub use shared::{Health, Permit};
pub use state::{By, Operator, State, Transition};
pub use told::{Eviction, Snapshot};
pub use traffic::{Blame, Failed, Proof};
pub use word::Look;
