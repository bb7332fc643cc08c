//! Stand-in until the real room is joined.
#![allow(missing_docs, clippy::todo)]
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;

use crate::config::Config;
use crate::health::Transition;
use crate::observe::Exchange;
use crate::pool::Pool;

#[must_use]
pub fn run(_config: Config, _warnings: Vec<String>) -> ExitCode {
    todo!()
}

#[derive(Clone, Default)]
pub struct Hooks {
    pub on_exchange: Option<Arc<dyn Fn(&Exchange) + Send + Sync>>,
    #[allow(clippy::type_complexity)]
    pub on_transition: Option<Arc<dyn Fn(&str, &str, &Transition) + Send + Sync>>,
}

#[derive(Debug)]
pub struct Server {}

impl Server {
    pub fn start(_config: Config, _hooks: Hooks) -> Result<Self, std::io::Error> {
        Err(std::io::Error::other("stand-in"))
    }
    #[must_use]
    pub fn addresses(&self) -> Vec<SocketAddr> {
        todo!()
    }
    #[must_use]
    pub fn admin_address(&self) -> Option<SocketAddr> {
        todo!()
    }
    #[must_use]
    pub fn pools(&self) -> &[Arc<Pool>] {
        todo!()
    }
    pub async fn drain(self) {
        todo!()
    }
}
