//! The daemon: start, say so, wait for signals, drain, exit.

use std::process::ExitCode;

use crate::config::Config;
use crate::observe::events;

use super::signals::{Ask, Signals};
use super::{Hooks, Server};

/// Runs the proxy until it is told to end. 0 after a drain (also one that had to cut), 1 when something broke.
#[must_use]
pub fn run(config: Config) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fatal(&format!("cannot start: {error}")),
    };
    let file = config.file.clone();
    let summary = Summary::of(&config);
    // Handlers first: a signal during the start must not kill.
    let signals = runtime.block_on(async { Signals::install() });
    let mut signals = match signals {
        Ok(signals) => signals,
        Err(error) => return fatal(&format!("cannot take signals: {error}")),
    };
    let server = match Server::start(config, Hooks::default()) {
        Ok(server) => server,
        Err(error) => return fatal(&error.to_string()),
    };
    events::started(file.as_deref(), server.workers());
    for (name, addresses) in server.addresses() {
        events::listening(name, addresses);
    }
    if let Some(address) = server.admin_address() {
        events::admin(address);
    }
    summary.tell();
    let code = runtime.block_on(serve(&server, &mut signals));
    server.finish();
    events::flush();
    code
}

/// What is served, in a line for each pool.
struct Summary(Vec<(String, usize, String)>);

impl Summary {
    fn of(config: &Config) -> Self {
        Self(config.pools.iter().map(|pool| (pool.name.to_string(), pool.upstreams.len(), events::checks_of(pool))).collect())
    }

    fn tell(&self) {
        for (pool, upstreams, checks) in &self.0 {
            events::serving(pool, *upstreams, checks);
        }
    }
}

async fn serve(server: &Server, signals: &mut Signals) -> ExitCode {
    let code = loop {
        tokio::select! {
            ask = signals.next() => match ask {
                Ask::End => break ExitCode::SUCCESS,
                Ask::ReopenLogs => server.reopen_logs(),
                Ask::Reload => events::no_reload(),
            },
            (thread, panic) = server.broke() => {
                events::thread_ended(&thread, panic.as_deref());
                break ExitCode::FAILURE;
            }
        }
    };
    let drained = async {
        tokio::select! {
            cut = server.drain() => events::drained(cut),
            () = second(signals) => events::stopped(),
        }
    };
    drained.await;
    code
}

/// Resolves at another signal to end.
async fn second(signals: &mut Signals) {
    while signals.next().await != Ask::End {}
}

fn fatal(sentence: &str) -> ExitCode {
    events::fatal(sentence);
    events::flush();
    ExitCode::FAILURE
}
