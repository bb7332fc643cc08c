//! `causeway demo`: the proxy, three upstreams in one process, and trouble on purpose.
//!
//! A newcomer with a browser or curl sees failover at once and, on `/all-down`, the annotated 502. Loopback only, on
//! the usual ports or the next free ones. [`script`] makes the trouble, [`narrator`] says what came of it; the proxy is
//! the real one.

mod narrator;
mod script;
mod setup;
mod traffic;

use std::pin::pin;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;
use tokio::sync::mpsc;

use crate::app::{Hooks, Refused, Server};
use crate::config::units;
use crate::health::Transition;
use crate::observe::{Exchange, events};
use crate::pool::Pool;

use narrator::{Fact, Narrator};
use setup::{Cast, Ports};

/// Facts on their way to the narrator; when it is too slow, some are left out.
const FACTS: usize = 1024;
/// How long the first health checks may take.
const FIRST_CHECKS: Duration = Duration::from_secs(3);

/// The words of `causeway demo`.
#[derive(Args, Debug)]
pub struct DemoArgs {
    /// Ends after this time, e.g. 40s
    #[arg(long = "for", value_name = "TIME", value_parser = units::duration)]
    limit: Option<Duration>,
    /// Ends after one round of trouble, in place of starting again
    #[arg(long)]
    once: bool,
}

/// Runs until Ctrl-C, TERM, or the end that was asked for.
#[must_use]
pub fn run(args: &DemoArgs) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return super::failed("demo", &error),
    };
    match runtime.block_on(play(args)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => super::failed("demo", &why),
    }
}

async fn play(args: &DemoArgs) -> Result<(), String> {
    let ended = super::asked_to_end();
    let ports = Ports::free().ok_or("no free port was found next to 8080 and 9901 on 127.0.0.1")?;
    let mut cast = Cast::start().await.map_err(|error| format!("an upstream could not be started: {error}"))?;
    let (facts, mut told) = mpsc::channel(FACTS);
    let config = setup::config(&ports, &cast);
    // For who follows them; the terminal is the narrator's.
    let _log = events::init(&config.log).map_err(|error| format!("the log could not be opened: {error}"))?;
    let server =
        Server::start(config, hooks(&facts)).map_err(|error| format!("the proxy could not be started: {error}"))?;
    for pool in server.pools() {
        // Late ones are told when they come.
        let _ = tokio::time::timeout(FIRST_CHECKS, first_checks(&pool)).await;
    }
    cast.raise_the_curtain().await;

    introduce(&ports);
    let begun = Instant::now();
    let mut narrator = Narrator::new(ports.traffic);
    let tally = traffic::Tally::default();
    {
        let mut script = pin!(script::run(&mut cast, &facts, ports.traffic, args.once));
        let mut traffic = pin!(traffic::run(ports.traffic, &tally));
        let mut ended = pin!(ended);
        let mut limit = pin!(tokio::time::sleep(args.limit.unwrap_or(Duration::MAX)));
        loop {
            tokio::select! {
                Some(fact) = told.recv() => {
                    for line in narrator.tell(&fact, begun.elapsed()) {
                        super::say(&line);
                    }
                }
                played = &mut script => {
                    played.map_err(|error| format!("an upstream could not be started again: {error}"))?;
                    break;
                }
                () = &mut traffic => {}
                ask = server.asked() => {
                    let why = "The demo has no configuration of its own to load again: causeway run has.";
                    let _ = ask.send(Err(Refused::Cannot(why.into())));
                }
                () = &mut ended => break,
                () = &mut limit => break,
            }
        }
    }
    super::say(&format!("\n{}, {} rescued.", tally.summary(), narrator.rescued()));
    server.drain("the end of the demo").await;
    server.finish();
    Ok(())
}

fn introduce(ports: &Ports) {
    let (traffic, admin) = (ports.traffic, ports.admin);
    for (what, wanted, got) in [("this", setup::TRAFFIC, traffic), ("/readyz", setup::ADMIN, admin)] {
        if wanted != got {
            super::say(&format!("Port {wanted} is taken, so {what} is on {got}."));
        }
    }
    super::say(&format!(
        "causeway demo: a proxy, three upstreams, and trouble on purpose.
  the app     http://localhost:{traffic}
  dashboard   http://localhost:{admin}
Try:
  curl localhost:{traffic}                                    who answers?
  curl -H 'Accept: text/plain' localhost:{traffic}/all-down   a 502 that says why
It sends itself {} requests a second. Ctrl-C ends it.\n",
        traffic::PER_SECOND
    ));
}

fn hooks(facts: &mpsc::Sender<Fact>) -> Hooks {
    let (exchanges, transitions) = (facts.clone(), facts.clone());
    Hooks {
        on_exchange: Some(Arc::new(move |exchange: &Exchange| {
            let _ = exchanges.try_send(Fact::of_exchange(exchange));
        })),
        on_transition: Some(Arc::new(move |pool: &str, upstream: &str, transition: &Transition| {
            let _ = transitions.try_send(Fact::of_transition(pool, upstream, transition));
        })),
    }
}

async fn first_checks(pool: &Pool) {
    let mut changes = pool.changes();
    while !pool.checked() && changes.changed().await.is_ok() {}
}
