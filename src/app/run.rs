//! The daemon: start, say so, wait for signals, for a changed file and for whoever asks the admin, reload, drain, exit.

use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use crate::cause::spoken;
use crate::config::model::{Balance, Check, Pool};
use crate::config::problem::render;
use crate::config::{LoadError, Loaded, Problem};
use crate::observe::events::{self, Events, PoolSummary};

use super::handover::{HandOver, Successor};
use super::signals::{Ask, Signals};
use super::start::raise_file_limit;
use super::systemd::Systemd;
use super::watch::{Again, Watch};
use super::{Hooks, Refused, Server, Told, panics};

/// How long the last lines may take to get out.
const LAST_LINES: Duration = Duration::from_secs(1);

/// How often it is looked whether lines of the access log were lost.
const LOOK_FOR_LOST_LINES: Duration = Duration::from_secs(10);

/// Why it ends, when a newer process has taken over.
const HAND_OVER: &str = "hand-over";

/// Who asks for a reload when the file has changed.
const WATCH: &str = "--watch";

/// Addresses in a status: it is one line.
const SHOWN: usize = 4;

/// Loads the configuration again, as it was loaded first: by the same flags and the same environment.
pub type Load = Arc<dyn Fn() -> Result<Loaded, LoadError> + Send + Sync>;

/// Runs the proxy until it is told to end. 0 after a drain (also one that had to cut), 1 when something broke.
/// `loaded`: the config, and what is legal and foolish in it; `load`: the next one; `watch`: the file is watched.
#[must_use]
pub fn run(loaded: Loaded, load: Load, watch: bool) -> ExitCode {
    let Loaded { config, warnings } = loaded;
    let log = match events::init(&config.log) {
        Ok(log) => log,
        Err(error) => {
            // Nothing but stderr is left to say it on.
            eprintln!("causeway: cannot open the log of events: {error}");
            return ExitCode::FAILURE;
        }
    };
    panics::tell();
    tell(&warnings, &log);
    let systemd = Systemd::from_env();
    let watch = config.file.clone().filter(|_| watch).map(Watch::new);
    let code = match start(config) {
        Ok(Started { runtime, server, mut signals, succession }) => {
            let reloader = Reloader { server: &server, log: &log, load, systemd: &systemd };
            let code = runtime.block_on(async {
                tokio::select! {
                    code = serve(&reloader, &mut signals, watch, succession) => code,
                    never = systemd.watchdog(&server) => match never {},
                }
            });
            server.finish();
            // A file that is still being read is of no use any more.
            runtime.shutdown_background();
            code
        }
        Err(sentence) => {
            systemd.status(&sentence);
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

/// What runs.
struct Started {
    runtime: tokio::runtime::Runtime,
    server: Server,
    signals: Signals,
    succession: Succession,
}

/// Who was before this process, and who comes after it; and the sockets that it has of the former.
type Succession = (Option<HandOver>, Vec<usize>);

fn start(config: crate::config::Config) -> Result<Started, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| format!("cannot start: {error}"))?;
    // Handlers first: a signal during the start must not kill.
    let signals =
        runtime.block_on(async { Signals::install() }).map_err(|error| format!("cannot take signals: {error}"))?;
    // What an older process gives counts, too.
    raise_file_limit();
    let begun = config.hand_over.as_deref().map(|path| runtime.block_on(HandOver::begin(path))).transpose()?;
    let (hand_over, mut taken) = begun.unzip();
    let taken = taken.get_or_insert_default();
    let server = Server::prepare(config, Hooks::default(), taken).map_err(|error| error.to_string())?;
    if !hand_over.as_ref().is_some_and(HandOver::takes_over) {
        runtime.block_on(server.open());
    }
    Ok(Started { runtime, server, signals, succession: (hand_over, taken.kept().to_vec()) })
}

/// Resolves when a newer process has taken over.
async fn succeeded((hand_over, kept): Succession, server: &Server) -> Successor {
    match hand_over {
        Some(mut hand_over) => hand_over.run(server, &kept).await,
        None => std::future::pending().await,
    }
}

async fn serve(
    reloader: &Reloader<'_>,
    signals: &mut Signals,
    mut watch: Option<Watch>,
    succession: Succession,
) -> ExitCode {
    let Reloader { server, log, systemd, .. } = reloader;
    let mut succeeded = Box::pin(succeeded(succession, server));
    let mut ready = false;
    let mut first = Box::pin(first_checks(server));
    let mut told = false;
    let mut again: Option<Again> = None;
    let mut lost = 0;
    let mut look = tokio::time::interval(LOOK_FOR_LOST_LINES);
    let (code, why) = loop {
        let changed = async {
            match &mut watch {
                Some(watch) => watch.changed().await,
                None => std::future::pending().await,
            }
        };
        let (by, ask, known) = tokio::select! {
            _ = look.tick() => {
                let now_lost = server.lost_lines();
                if now_lost > lost {
                    events::access_log_dropped(now_lost - lost);
                    lost = now_lost;
                }
                continue;
            }
            () = server.opened(), if !ready => {
                ready = true;
                systemd.ready(&format!("{}; the first checks are not in yet", listening(server)));
                continue;
            }
            () = &mut first, if ready && !told => {
                told = true;
                systemd.status(&listening(server));
                continue;
            }
            successor = &mut succeeded => {
                systemd.replaced_by(successor.pid);
                events::handed_over(successor.pid);
                break (ExitCode::SUCCESS, HAND_OVER);
            }
            ask = signals.next() => match ask {
                Ask::End(signal) => break (ExitCode::SUCCESS, signal),
                Ask::ReopenLogs => {
                    log.reopen();
                    server.reopen_logs();
                    continue;
                }
                Ask::Reload => ("HUP", None, None),
            },
            ask = server.asked() => ("the admin", Some(ask), None),
            () = changed => (WATCH, None, None),
            () = Again::due(again.as_ref()) => (WATCH, None, again.take()),
            (thread, panic) = server.broke() => {
                events::fatal(format_args!("thread {thread} ended: {}", panic.as_deref().unwrap_or("without a word")));
                break (ExitCode::FAILURE, "a thread ended");
            }
        };
        if let Some(watch) = &mut watch {
            watch.look();
        }
        if ready && known.is_none() {
            systemd.reloading();
        }
        let came = tokio::select! {
            came = reloader.reload(by, known.as_ref()) => came,
            // A reload may take its time; what it was about to change ends with the rest.
            signal = signals.end() => break (ExitCode::SUCCESS, signal),
        };
        // What is tried again and is as it was is no news for anybody.
        let news =
            known.as_ref().is_none_or(|known| came.as_ref().err().is_none_or(|why| why.to_string() != known.told));
        again = match &came {
            // Whoever asked for it: the file that is watched is not in force.
            Err(why) if watch.is_some() => Some(Again::after(why.to_string(), known)),
            Ok(_) | Err(_) => None,
        };
        if ready && news {
            // However it went: it listens.
            let refused = if came.is_err() { "; the last reload was refused" } else { "" };
            systemd.ready(&format!("{}{refused}", listening(server)));
        }
        if let Some(ask) = ask {
            // Who asked may be gone; it is done all the same.
            let _ = ask.send(came);
        }
        if !told {
            // Of the pools that there are now.
            first = Box::pin(first_checks(server));
        }
    };
    // Who comes now does not find this process any more, and who asks for a reload gets none.
    drop(succeeded);
    server.ask_no_more().await;
    if why != HAND_OVER {
        systemd.stopping(&format!("{why}: draining"));
    }
    let began = Instant::now();
    tokio::select! {
        cut = server.drain(why) => match cut {
            0 => events::drained(began.elapsed(), server.closed()),
            cut => events::drain_cut(cut, server.closed(), "shutdown.timeout is over"),
        },
        () = second(signals) => events::drain_cut(server.connections(), server.closed(), "a second signal"),
    }
    code
}

/// What a reload takes, whoever asks for it.
struct Reloader<'a> {
    server: &'a Server,
    log: &'a Events,
    load: Load,
    systemd: &'a Systemd,
}

impl Reloader<'_> {
    /// Loads the configuration again and puts it in force, whole or not at all; says so in the log, in the metrics and
    /// to who asked. `by`: who did; `known`: this was refused before, and who looks knows why.
    async fn reload(&self, by: &str, known: Option<&Again>) -> Result<Told, Refused> {
        let came = self.try_reload().await;
        match &came {
            Ok(Told { changes, warnings }) => {
                self.server.admin().reloaded(Ok(()), SystemTime::now());
                tell(warnings, self.log);
                events::config_reloaded(by, changes, self.server.config().file.is_some());
            }
            Err(refused) => {
                let why = refused.to_string();
                if known.is_none_or(|known| known.told != why) {
                    self.server.admin().reloaded(Err(&why), SystemTime::now());
                    events::config_refused(by, &why, refused.problems());
                }
            }
        }
        came
    }

    async fn try_reload(&self) -> Result<Told, Refused> {
        let load = Arc::clone(&self.load);
        // Off this thread: a file may be large, or on a disk that is slow, and signals are to be heard meanwhile.
        let loaded = tokio::task::spawn_blocking(move || load()).await;
        let loaded =
            loaded.map_err(|error| Refused::Cannot(format!("the configuration could not be read: {error}")))?;
        let Loaded { config, warnings } = loaded.map_err(Refused::Config)?;
        let changes = self.server.reload(config).await?;
        Ok(Told { changes, warnings })
    }
}

/// For the service manager.
fn listening(server: &Server) -> String {
    let addresses = server.addresses();
    let addresses = addresses.iter().flat_map(|(_, addresses)| addresses).map(ToString::to_string);
    let mut places: Vec<String> = addresses.take(SHOWN).collect();
    if places.is_empty() {
        places.push("sockets of this machine".into());
    }
    format!("listening on {}", places.join(", "))
}

/// Waits until every upstream had its first check, then says what is served.
async fn first_checks(server: &Server) {
    let pools = server.pools();
    for pool in &pools {
        let mut changes = pool.changes();
        while !pool.checked() && changes.changed().await.is_ok() {}
    }
    let checks: Vec<String> = pools.iter().map(|pool| checks_of(&pool.config)).collect();
    let summaries: Vec<PoolSummary<'_>> = std::iter::zip(&pools, &checks)
        .map(|(pool, checks)| PoolSummary {
            name: &pool.config.name,
            usable: pool.usable(),
            total: pool.members().len(),
            checks,
        })
        .collect();
    let tcp = |pool: &Pool| pool.health.as_ref().is_some_and(|health| matches!(health.check, Check::Tcp));
    let advice = if server.config().file.is_none() && pools.iter().any(|pool| tcp(&pool.config)) {
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
                Check::Tcp => format!("{} every {every}", opened(pool)),
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

/// What such a check opens: a connection, a session of TLS on it, or a socket of this machine.
fn opened(pool: &Pool) -> &'static str {
    use crate::config::address::{Address, Host, Scheme};
    let all = |is: fn(&Address) -> bool| pool.upstreams.iter().all(|entry| is(&entry.address));
    if all(|address| matches!(address.host, Host::Unix(_))) {
        "socket checks"
    } else if all(|address| address.scheme == Scheme::Https) {
        "TLS checks"
    } else if all(|address| address.scheme != Scheme::Https && !matches!(address.host, Host::Unix(_))) {
        "TCP checks"
    } else {
        "connection checks"
    }
}

/// Resolves at another signal to end.
async fn second(signals: &mut Signals) {
    while !matches!(signals.next().await, Ask::End(_)) {}
}
