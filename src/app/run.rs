//! The daemon: start, say so, wait for signals, drain, exit.

use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use crate::cause::spoken;
use crate::config::model::{Balance, Check, Pool};
use crate::config::problem::render;
use crate::config::{Config, Problem};
use crate::observe::events::{self, Events, PoolSummary};

use super::signals::{Ask, Signals};
use super::{Hooks, Server};

/// How long the last lines may take to get out.
const LAST_LINES: Duration = Duration::from_secs(1);

/// How often it is looked whether lines of the access log were lost.
const LOOK_FOR_LOST_LINES: Duration = Duration::from_secs(10);

/// Runs the proxy until it is told to end. 0 after a drain (also one that had to cut), 1 when something broke. `warnings`:
/// what is legal and foolish in the config.
#[must_use]
pub fn run(config: Config, warnings: &[Problem]) -> ExitCode {
    let log = match events::init(&config.log) {
        Ok(log) => log,
        Err(error) => {
            // Nothing but stderr is left to say it on.
            eprintln!("causeway: cannot open the log of events: {error}");
            return ExitCode::FAILURE;
        }
    };
    tell(warnings, &log);
    let code = match start(config) {
        Ok((runtime, server, mut signals)) => {
            let code = runtime.block_on(serve(&server, &mut signals, &log));
            server.finish();
            code
        }
        Err(sentence) => {
            events::fatal(sentence);
            ExitCode::FAILURE
        }
    };
    log.flush(LAST_LINES);
    code
}

/// Warnings, with the line of the file for a person, and as events for a machine.
fn tell(warnings: &[Problem], log: &Events) {
    let human = log.human();
    if !warnings.is_empty() && (human || std::io::stderr().is_terminal()) {
        let _ = write!(std::io::stderr(), "{}", render(warnings));
    }
    if !human {
        warnings.iter().for_each(events::config_warning);
    }
}

fn start(config: Config) -> Result<(tokio::runtime::Runtime, Server, Signals), String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| format!("cannot start: {error}"))?;
    // Handlers first: a signal during the start must not kill.
    let signals =
        runtime.block_on(async { Signals::install() }).map_err(|error| format!("cannot take signals: {error}"))?;
    let server = Server::start(config, Hooks::default()).map_err(|error| error.to_string())?;
    Ok((runtime, server, signals))
}

async fn serve(server: &Server, signals: &mut Signals, log: &Events) -> ExitCode {
    let mut first_checks = std::pin::pin!(first_checks(server));
    let mut told = false;
    let mut lost = 0;
    let mut look = tokio::time::interval(LOOK_FOR_LOST_LINES);
    let (code, why) = loop {
        tokio::select! {
            _ = look.tick() => {
                let now_lost = server.lost_lines();
                if now_lost > lost {
                    events::access_log_dropped(now_lost - lost);
                    lost = now_lost;
                }
            }
            () = &mut first_checks, if !told => told = true,
            ask = signals.next() => match ask {
                Ask::End(signal) => break (ExitCode::SUCCESS, signal),
                Ask::ReopenLogs => {
                    log.reopen();
                    server.reopen_logs();
                }
                Ask::Reload => events::no_reload(),
            },
            (thread, panic) = server.broke() => {
                events::panicked(format_args!("thread {thread} ended: {}", panic.as_deref().unwrap_or("without a word")));
                break (ExitCode::FAILURE, "a thread ended");
            }
        }
    };
    let began = Instant::now();
    tokio::select! {
        cut = server.drain(why) => match cut {
            0 => events::drained(began.elapsed()),
            cut => events::drain_cut(cut, "shutdown.timeout is over"),
        },
        () = second(signals) => events::drain_cut(server.connections(), "a second signal"),
    }
    code
}

/// Waits until every upstream had its first check, then says what is served.
async fn first_checks(server: &Server) {
    for pool in server.pools() {
        let mut changes = pool.changes();
        while !pool.checked() && changes.changed().await.is_ok() {}
    }
    let checks: Vec<String> = server.pools().iter().map(|pool| checks_of(&pool.config)).collect();
    let summaries: Vec<PoolSummary<'_>> = std::iter::zip(server.pools(), &checks)
        .map(|(pool, checks)| PoolSummary {
            name: &pool.config.name,
            usable: pool.usable(),
            total: pool.members().len(),
            checks,
        })
        .collect();
    let tcp = |pool: &Pool| pool.health.as_ref().is_some_and(|health| matches!(health.check, Check::Tcp));
    let advice = if !server.from_file() && server.pools().iter().any(|pool| tcp(&pool.config)) {
        "--health-path /healthz makes them HTTP checks"
    } else {
        ""
    };
    events::serving(&summaries, advice);
}

/// `TCP checks every 5 s`; and how one is chosen, where somebody said so.
fn checks_of(pool: &Pool) -> String {
    let checks = match &pool.health {
        None if pool.passive.connect_failures.is_some() || pool.passive.gateway_failures.is_some() => {
            "no checks (traffic alone evicts)".into()
        }
        None => "no checks".into(),
        Some(health) => {
            let every = spoken(health.interval).replace(".0 s", " s");
            match &health.check {
                Check::Tcp => format!("TCP checks every {every}"),
                Check::Http(check) => format!("checks {} {} every {every}", check.method, check.path),
                Check::Grpc(check) if check.service.is_empty() => format!("gRPC checks every {every}"),
                Check::Grpc(check) => format!("gRPC checks of {} every {every}", check.service),
            }
        }
    };
    match pool.balance {
        Balance::P2c => checks,
        ref balance => format!("{checks}, balance {balance}"),
    }
}

/// Resolves at another signal to end.
async fn second(signals: &mut Signals) {
    while !matches!(signals.next().await, Ask::End(_)) {}
}
