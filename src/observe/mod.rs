//! Facts, on their way to people: the record of each exchange, events, the access log.
//!
//! [`exchange`] is the one record of a request; [`access_log`] writes it, on a thread of its own, and drops rather than
//! waits; [`events`] has one function for each fact; [`incidents`] keeps the records of what failed last. Nothing here
//! decides anything.

pub mod access_log;
pub mod events;
pub mod exchange;
pub mod incidents;
pub mod json;
pub mod lines;
pub mod login;
pub mod metrics;
mod row;
pub mod time;
pub mod told;
pub mod trace;
pub mod trace_id;

pub use exchange::{Attempt, Exchange, NotTried, Outcome, Reason, RequestId};
pub use incidents::{Incident, Incidents};
pub use trace_id::TraceId;
