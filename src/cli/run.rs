//! `causeway run`: the proxy, from a file or from a few words.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;

use crate::app;
use crate::config::{self, Flags};

/// The words of `causeway run`. Flag beats environment beats file beats default.
#[derive(Args, Debug)]
pub struct RunArgs {
    /// The config; else CAUSEWAY_CONFIG, ./causeway.toml, /etc/causeway/causeway.toml
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where clients connect, e.g. :8080
    #[arg(long, value_name = "ADDR")]
    listen: Option<String>,
    /// An app to send requests to, in place of a file: 3000, app:3000, https://app, unix:/run/app.sock; may be given
    /// more than once
    #[arg(long = "upstream", value_name = "ADDR")]
    upstreams: Vec<String>,
    /// Makes the health checks HTTP checks of this path
    #[arg(long, value_name = "PATH")]
    health_path: Option<String>,
    /// Where the dashboard, /livez, /readyz and /metrics are answered, or "off"
    #[arg(long, value_name = "ADDR")]
    admin: Option<String>,
    /// Sets any key of the file, e.g. pool.app.timeouts.read=5s; may be given more than once
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Reloads when the content of the config file changes
    #[arg(long)]
    watch: bool,
}

/// Loads the config and runs until a signal or a failure.
#[must_use]
pub fn run(args: RunArgs) -> ExitCode {
    let RunArgs { config, listen, upstreams, health_path, admin, set, watch } = args;
    let flags = Flags { config, listen, upstreams, health_path, admin, set };
    match super::configuration(&flags) {
        Ok(loaded) if watch && loaded.config.file.is_none() => {
            let why = "causeway: --watch reloads when the config file changes, and this starts without one. Take --watch out, \
                       or name a file with --config\n";
            let _ = std::io::stderr().write_all(why.as_bytes());
            ExitCode::from(2)
        }
        Ok(loaded) => app::run(loaded, Arc::new(move || config::load(&flags, &variable)), watch),
        Err((text, code)) => {
            let _ = std::io::stderr().write_all(text.as_bytes());
            ExitCode::from(code)
        }
    }
}

/// A variable of the environment.
pub(super) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}
