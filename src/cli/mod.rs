//! The command line: words in, words and an exit code out.
//!
//! Exit codes: 0 done, 1 failed, 2 usage (never from `healthcheck`: Docker keeps 2 for itself), 69 no proxy to ask, 78
//! bad config.
//! What a command does is in its own file; nothing here knows how a proxy works.

mod ask;
pub mod check;
pub mod demo;
pub mod explain;
pub mod healthcheck;
pub mod operator;
pub mod origin;
pub mod probe;
pub mod reload;
pub mod run;
pub mod status;

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fmt::Display;
use std::io::Write as _;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{CommandFactory as _, Parser, Subcommand};

use crate::config::{self, Flags, LoadError, Loaded, problem};

/// Wrong words on the command line.
const EXIT_USAGE: u8 = 2;
/// No running proxy answers (EX_UNAVAILABLE).
const EXIT_NO_PROXY: u8 = 69;
/// The configuration cannot be used (EX_CONFIG).
const EXIT_CONFIG: u8 = 78;

/// A reverse proxy that tries every upstream it safely can before it gives up, and then tells you why
#[derive(Parser, Debug)]
#[command(name = "causeway", bin_name = "causeway", version, max_term_width = 80, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Run the proxy
    Run(run::RunArgs),
    /// See it work: a proxy, three upstreams, and trouble on purpose
    Demo(demo::DemoArgs),
    /// Find every problem of a config file
    Check(check::CheckArgs),
    /// Put the changed config in force, as HUP does
    Reload(reload::ReloadArgs),
    /// Test each upstream, phase by phase, and say what to change
    Probe(probe::ProbeArgs),
    /// The running proxy's pools at a glance
    Status(status::StatusArgs),
    /// Send no new requests to an upstream; those it has may end
    Drain(operator::DrainArgs),
    /// Send requests to an upstream again
    Enable(operator::SwitchArgs),
    /// Take an upstream out of service
    Disable(operator::SwitchArgs),
    /// What a cause means and what to do; or the trail of a failed request
    Explain(explain::ExplainArgs),
    /// Run an upstream for trying, load tests and drills
    Origin(origin::OriginArgs),
    /// Ask a running proxy whether it is ready: exit code 0 or 1
    Healthcheck(healthcheck::HealthcheckArgs),
}

/// The whole program.
#[must_use]
pub fn main() -> ExitCode {
    // First of all: later there may be threads.
    crate::listen::handed::take();
    crate::app::systemd::take();
    with(std::env::args_os().collect())
}

fn with(words: Vec<OsString>) -> ExitCode {
    let usage = if words.get(1).is_some_and(|word| word == "healthcheck") { 1 } else { EXIT_USAGE };
    let cli = Cli::try_parse_from(words).and_then(|cli| match &cli.command {
        Command::Origin(args) => match args.checked() {
            Ok(()) => Ok(cli),
            Err(why) => Err(Cli::command().error(ErrorKind::ValueValidation, why)),
        },
        _ => Ok(cli),
    });
    match cli.map(|cli| cli.command) {
        Ok(Command::Run(args)) => run::run(args),
        Ok(Command::Demo(args)) => demo::run(&args),
        Ok(Command::Check(args)) => check::run(&args),
        Ok(Command::Reload(args)) => reload::run(&args),
        Ok(Command::Probe(args)) => probe::run(&args),
        Ok(Command::Status(args)) => status::run(&args),
        Ok(Command::Drain(args)) => operator::drain(&args),
        Ok(Command::Enable(args)) => operator::enable(&args),
        Ok(Command::Disable(args)) => operator::disable(&args),
        Ok(Command::Explain(args)) => explain::run(&args),
        Ok(Command::Origin(args)) => origin::run(args),
        Ok(Command::Healthcheck(args)) => healthcheck::run(args),
        Err(error) => {
            let _ = error.print();
            if error.exit_code() == 0 { ExitCode::SUCCESS } else { ExitCode::from(usage) }
        }
    }
}

/// A line for the user. A closed standard output is no reason to panic.
fn say(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// The one sentence that says why a command could not do its work; exit code 1.
fn failed(command: &str, why: &dyn Display) -> ExitCode {
    let _ = writeln!(std::io::stderr(), "causeway {command}: {why}");
    ExitCode::FAILURE
}

/// The configuration of this process, with what is odd about its environment among the warnings.
///
/// # Errors
/// What to print, whole lines, and the exit code.
fn configuration(flags: &Flags) -> Result<Loaded, (String, u8)> {
    let asked = RefCell::new(BTreeSet::new());
    let env = |name: &str| {
        asked.borrow_mut().insert(name.to_owned());
        std::env::var(name).ok()
    };
    let loaded = config::load(flags, &env);
    let lossy = |text: OsString| text.to_string_lossy().into_owned();
    let variables = std::env::vars_os().map(|(name, value)| (lossy(name), lossy(value)));
    let strangers = config::strangers(variables, &|name| asked.borrow().contains(name));
    match loaded {
        Ok(mut loaded) => {
            loaded.warnings.extend(strangers);
            Ok(loaded)
        }
        Err(LoadError::Problems(mut problems)) => {
            problems.extend(strangers);
            let error = LoadError::Problems(problems);
            Err((unloaded(&error), error.exit_code()))
        }
        Err(error) => Err((problem::render(&strangers) + &unloaded(&error), error.exit_code())),
    }
}

/// Why there is no configuration, as text with an end of line.
fn unloaded(error: &LoadError) -> String {
    match error {
        // Several lines, and a name from outside in one of them.
        LoadError::Usage(message) => message.lines().map(|line| problem::ascii(line) + "\n").collect(),
        LoadError::Unreadable(..) | LoadError::NothingConfigured | LoadError::Problems(_) => error.to_string(),
    }
}

/// Ctrl-C and TERM are caught from this call on; the future waits for one.
fn asked_to_end() -> impl Future<Output = ()> {
    use tokio::signal::unix::{SignalKind, signal};
    let signals = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()));
    async {
        match signals {
            (Ok(mut interrupt), Ok(mut terminate)) => {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                }
            }
            // No handler could be set: the system's own ends the process.
            _ => std::future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_are_sound() {
        Cli::command().debug_assert();
    }
}
