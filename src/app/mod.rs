//! Assembly: from a configuration to a running proxy, to the next configuration, and to its end.
//!
//! [`Server::start`] binds every socket first (a taken port is one clear sentence and nothing was started), then starts the
//! control thread (names, checks, admin) and the workers; [`Server::reload`] puts another configuration in force. `workers` alone
//! knows that there are threads; `listeners` knows which sockets are open.

mod control;
mod end;
mod listeners;
mod notify;
mod reload;
pub mod run;
mod signals;
mod start;
mod watch;
mod worker;
mod workers;

pub use crate::admin::{Ask, Refused, Told};
pub use crate::config::Change;
pub use run::{Load, run};
pub use start::{Hooks, OnTransition, Server, StartError};
