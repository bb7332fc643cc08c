//! Assembly: from a configuration to a running proxy, and to its end.
//!
//! [`Server::start`] binds every socket first (a taken port is one clear sentence and nothing was started), then starts the
//! control thread (names, checks, admin) and the workers. [`workers`] alone knows that there are threads.

mod control;
mod notify;
pub mod run;
mod signals;
mod start;
mod workers;

pub use run::run;
pub use start::{Hooks, OnTransition, Server, StartError};
