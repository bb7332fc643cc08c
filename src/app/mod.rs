//! Assembly: from a configuration to a running proxy, to the next configuration, and to its end.
//!
//! [`Server::start`] binds every socket first (a taken port is one clear sentence and nothing was started), then starts
//! the control thread (names, checks, admin) and the workers; [`Server::reload`] puts another configuration in force.
//! `workers` alone knows that there are threads; `listeners` knows which sockets are open. `handover` gives them to a
//! newer process, or takes them from an older one; [`systemd`] is told how it goes.

mod control;
mod end;
mod handover;
mod listeners;
mod notify;
mod open;
pub mod panics;
mod pulse;
mod reload;
pub mod run;
mod shortage;
mod signals;
mod start;
pub mod systemd;
mod watch;
mod worker;
mod workers;

pub use crate::admin::{Ask, Refused, Told};
pub use crate::config::Change;
pub use run::{Load, run};
pub use start::{Hooks, OnTransition, Server, StartError};
