//! Health checks, as a pool has them.

use std::time::Duration;

use http::{HeaderMap, HeaderValue, Method};

/// `[pool.NAME.health]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// What a check does.
    pub check: Check,
    /// `None`: the upstream's own.
    pub port: Option<u16>,
    /// Between two checks, ±20 %; 1 s while changing, 2 s while down (never longer than this).
    pub interval: Duration,
    /// From resolve to the last body byte read.
    pub timeout: Duration,
    /// Passes in a row that end an eviction.
    pub healthy_after: u32,
    /// Failures in a row that evict.
    pub unhealthy_after: u32,
}

/// What a check does.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::large_enum_variant)] // one for each pool
pub enum Check {
    /// Open a connection, close it.
    Tcp,
    /// A request, and what its answer must be.
    Http(HttpCheck),
    /// A call of gRPC's health service, over HTTP/2 without TLS.
    Grpc(GrpcCheck),
}

/// An HTTP check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpCheck {
    /// Path and query, starting with `/`.
    pub path: String,
    /// `GET` unless said.
    pub method: Method,
    /// `None`: the upstream's address.
    pub host_header: Option<HeaderValue>,
    /// Sent with the check, over causeway's own.
    pub headers: HeaderMap,
    /// Inclusive ranges; never empty.
    pub expect_status: Vec<(u16, u16)>,
    /// Must be in the first 64 KiB of the body; empty: anything.
    pub expect_body: String,
}

/// A gRPC check: `grpc.health.v1.Health/Check` must answer SERVING.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GrpcCheck {
    /// The service that is asked about; empty: the server as a whole.
    pub service: String,
    /// `None`: the upstream's address.
    pub host_header: Option<HeaderValue>,
    /// Sent with the check.
    pub headers: HeaderMap,
}
