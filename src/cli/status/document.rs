//! What `GET /api/status` says, as far as the table needs it. What is missing counts as nothing: another version may
//! say less.

use serde::Deserialize;

/// The whole document.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(in crate::cli) struct Status {
    pub name: String,
    pub version: String,
    pub uptime_ms: u64,
    pub state: String,
    /// While it is short.
    pub memory: Option<String>,
    pub config: Option<String>,
    pub reload: Reload,
    pub last: Last,
    pub pools: Vec<Pool>,
}

/// What came of reloads.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(in crate::cli) struct Reload {
    pub loaded_ago_ms: u64,
    pub succeeded: u64,
    pub failure: Option<Failure>,
}

/// The last reload, which did not succeed.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(in crate::cli) struct Failure {
    pub ago_ms: u64,
    pub why: Option<String>,
    pub next: Option<String>,
}

/// Of the last minutes.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(in crate::cli) struct Last {
    pub rescued: u64,
    pub failed: u64,
    pub errors: Vec<Errors>,
}

/// Errors of one kind.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(in crate::cli) struct Errors {
    pub pool: Option<String>,
    pub code: u16,
    pub cause: String,
    pub count: u64,
}

/// One pool.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(in crate::cli) struct Pool {
    pub name: String,
    pub usable: usize,
    pub total: usize,
    pub queue: u64,
    pub per_second: f64,
    pub last: Last,
    pub stale: Vec<Stale>,
    pub upstreams: Vec<Upstream>,
}

/// A name or a list that cannot be had.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(in crate::cli) struct Stale {
    pub source: String,
    pub cause: String,
    pub message: String,
    pub held_ms: u64,
}

/// One upstream.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(in crate::cli) struct Upstream {
    pub upstream: String,
    pub state: String,
    pub held_ms: u64,
    pub cause: Option<String>,
    pub message: Option<String>,
    pub finding: Option<String>,
    pub next_check_ms: Option<u64>,
    pub ends_in_ms: Option<u64>,
    pub in_flight: u64,
    pub limit: Option<u64>,
    pub backup: bool,
    pub per_second: f64,
    pub p50_ms: Option<f64>,
    pub p99_ms: Option<f64>,
}

impl Status {
    /// Has every pool somebody to send requests to?
    pub(in crate::cli) fn usable(&self) -> bool {
        self.pools.iter().all(|pool| pool.usable > 0)
    }

    /// `app/127.0.0.1:3000` of all upstreams.
    pub(in crate::cli) fn names(&self) -> Vec<String> {
        let of = |pool: &Pool| -> Vec<String> {
            pool.upstreams.iter().map(|one| format!("{}/{}", pool.name, one.upstream)).collect()
        };
        self.pools.iter().flat_map(of).collect()
    }
}
