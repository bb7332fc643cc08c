//! The promise: a pool at its limits answers fast, in turn, and never melts; and what waits, waits within bounds.

mod budget;
mod comeback;
mod listener;
mod on_status;
mod queue;
mod suspect;

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::{Duration, Instant};

use causeway::config::Config;
use causeway::config::model::{self, Action, Retry};

use crate::support::origin::{Behaviour, Origin};
use crate::support::proxy::Proxy;
use crate::support::raw::{Raw, Response};

const FULL: &str = "[errors]\ndetail = \"full\"\n";

/// The first pool of a configuration, to be changed.
fn pool(config: &mut Config) -> &mut model::Pool {
    Arc::make_mut(&mut config.pools[0])
}

/// The retry rules of all routes.
fn retry(config: &mut Config, change: impl Fn(&mut Retry)) {
    for route in &mut config.routes {
        if let Action::Forward(forward) = &mut route.action {
            change(&mut forward.retry);
        }
    }
}

fn json(answer: &Response) -> serde_json::Value {
    serde_json::from_slice(&answer.body).unwrap_or_else(|e| panic!("{e}: {}", answer.text()))
}

/// A request on its way on a connection of its own.
async fn ask(proxy: &Proxy, target: &str) -> Raw {
    let mut client = Raw::connect(proxy.address).await;
    client.send(format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n")).await;
    client
}

/// The seconds of Retry-After: whole, at least 1.
fn retry_after(answer: &Response) -> u64 {
    let seconds =
        answer.field("retry-after").and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("{answer:?}"));
    assert!(seconds >= 1, "{answer:?}");
    seconds
}

/// Waits until this holds; the state of a pool has no event of its own.
async fn until(what: &str, holds: impl Fn() -> bool) {
    let started = Instant::now();
    while !holds() {
        assert!(started.elapsed() < Duration::from_secs(20), "never: {what}");
        tokio::task::yield_now().await;
    }
}

fn some(number: usize) -> Option<NonZeroUsize> {
    NonZeroUsize::new(number)
}
