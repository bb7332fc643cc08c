//! A closer look at an upstream that failed: what answers there, and next to it, that would explain the failure.
//!
//! Off the request path, now and then, and only at hosts of the config. It opens connections of its own and never changes
//! health.

use std::net::SocketAddr;

use crate::cause::{Cause, Finding};
use crate::config::Endpoint;

/// Looks for what explains this failure. `own`: the addresses that causeway itself listens on.
pub async fn look(endpoint: &Endpoint, cause: Cause, own: &[SocketAddr]) -> Option<Finding> {
    let _ = (endpoint, cause, own);
    None
}
