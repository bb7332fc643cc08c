//! Numbers for machines (CONTRACT §7): counted where a fact is known, added up when somebody asks.
//!
//! ```text
//!  shard     one cell for each worker, so that counting shares no cache line
//!  code      status codes and methods as closed sets of labels
//!  duration  histograms with fixed buckets
//!  request   what clients asked and got            by listener, route, method, code; errors by cause
//!  upstream  what each upstream did                lives with the upstream: its series end when it leaves
//!  history   what they said in the last minutes    rates, "the last 5 min"
//!  process   what this process uses
//!  text      Prometheus text, OpenMetrics
//! ```
//!
//! Labels are names of the config, cause tokens, codes and known methods: never a path, a host or a message. Nothing
//! here waits, and what a request counts takes no lock unless it failed.

pub mod code;
pub mod duration;
pub mod history;
pub mod process;
pub mod request;
pub mod shard;
pub mod text;
pub mod upstream;

pub use request::Requests;
pub use upstream::Meter;
