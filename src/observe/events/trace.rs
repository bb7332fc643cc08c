//! Events about traces: where they go, and what of them is lost.

use tracing::{info, warn};

use crate::cause::escape;

/// Spans go to this collector.
pub fn traces_on(url: &str) {
    info!(event = "traces_on", url, "traces go to {url}");
}

/// Somebody asked for traces in words that cannot be followed.
pub fn traces_off(why: &str) {
    let why = escape(why.as_bytes());
    warn!(event = "traces_off", "no traces: {why}");
}

/// Spans did not reach the collector, since the last time this was said.
pub fn spans_lost(spans: u64, collector: &str, why: &str) {
    let why = escape(why.as_bytes());
    warn!(
        event = "spans_lost",
        spans, collector, "{spans} spans were lost: the collector at {collector} does not take them: {why}"
    );
}
