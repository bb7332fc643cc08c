//! Traces: a span for each request and one for each attempt, sent to a collector over OTLP (CONTRACT §8). Only in a
//! build with the feature `otlp`, and only where `OTEL_EXPORTER_OTLP_ENDPOINT` names a collector; else nothing in here
//! costs anything.
//!
//! ```text
//!  settings  what the OTEL_* variables say
//!  context   traceparent: read, kept or made; is this request sampled?
//!  spans     the finished record as spans
//!  sender    a bounded queue, and the thread that posts batches
//!  post      one POST over plain HTTP/1.1
//!  off       the same names, without the feature: no value of them can exist
//! ```
//!
//! Traffic never waits for a collector: what does not fit the queue is dropped and counted.

#[cfg(feature = "otlp")]
mod context;
#[cfg(not(feature = "otlp"))]
mod off;
#[cfg(feature = "otlp")]
mod post;
#[cfg(feature = "otlp")]
mod sender;
#[cfg(feature = "otlp")]
mod settings;
#[cfg(feature = "otlp")]
mod spans;

#[cfg(feature = "otlp")]
pub use context::{Context, Parent};
#[cfg(not(feature = "otlp"))]
pub use off::{Context, Parent, Traces};
#[cfg(feature = "otlp")]
pub use sender::Traces;

/// Is there any of it in this build?
pub const BUILT: bool = cfg!(feature = "otlp");
