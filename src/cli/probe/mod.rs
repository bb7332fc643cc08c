//! `causeway probe`: one live look at each upstream, phase by phase, with what is wrong and what to change.
//!
//! It asks with the code of the running checks (`crate::probe`) under the pool's own settings, so that it finds what
//! they find. `target` says what is asked, `look` asks, `further` asks on (`--deep`), `host` tries names,
//! `wrong` is what they find, `around` knows the neighbours, `meaning` explains statuses; a [`Report`] is then written
//! by `text` or `json`. It changes nothing and needs no running proxy.

mod around;
mod further;
mod host;
mod json;
mod look;
mod meaning;
mod report;
mod steps;
mod target;
mod text;
mod tls;
mod wrong;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Args;

use crate::config::{self, Config, Flags, LoadError, units};

use super::run::variable;
use around::Around;
use report::Report;

/// The words of `causeway probe`.
#[derive(Args, Debug)]
#[command(after_help = "\
Without ADDR or URL every upstream of the config is tested, with its pool's
settings. An ADDR of the config, or the name of an upstream or a pool, is tested
with those, too. Exit code: 0 all usable, 1 not, 2 wrong words, 78 bad config.

  causeway probe 3000                       localhost:3000, both families
  causeway probe http://app:3000/orders     this request
  causeway probe --deep --json              all of the config, for a script")]
pub struct ProbeArgs {
    /// What to test: 3000, app:3000, http://app:3000/path, https://, h2c://, unix:/run/app.sock, or a name of the
    /// config
    #[arg(value_name = "ADDR|URL")]
    what: Vec<String>,
    /// The config; else CAUSEWAY_CONFIG, ./causeway.toml, /etc/causeway/causeway.toml
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Sets any key of the config, e.g. pool.app.health.path=/up; may be given more than once
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Asks on: idle connections, Host, HEAD, chunked requests, upgrades (some 5 s)
    #[arg(long)]
    deep: bool,
    /// Prints an array with an object for each upstream
    #[arg(long)]
    json: bool,
    /// How long the app may take to answer [default: timeouts.read, 5s at most]
    #[arg(long, value_name = "TIME", value_parser = units::duration)]
    timeout: Option<Duration>,
}

/// How to look.
#[derive(Clone, Copy, Debug)]
struct How {
    deep: bool,
    timeout: Option<Duration>,
}

/// Tests and prints. 0 when all are usable.
#[must_use]
pub fn run(args: &ProbeArgs) -> ExitCode {
    let config = match loaded(args) {
        Ok(config) => config,
        Err(code) => return code,
    };
    let config = config.map(target::with_lists);
    let targets = match target::targets(&args.what, config.as_ref()) {
        Ok(targets) => targets,
        Err(wrong) => {
            let _ = writeln!(std::io::stderr(), "causeway probe: {wrong}");
            return ExitCode::from(super::EXIT_USAGE);
        }
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return super::failed("probe", &error),
    };
    let started = Instant::now();
    let how = How { deep: args.deep, timeout: args.timeout };
    let around = config.as_ref().map(Around::of).unwrap_or_default();
    let reports = runtime.block_on(look::all(targets, how, around));
    let text = if args.json {
        json::render(&reports)
    } else {
        text::render(&reports, args.what.is_empty(), started.elapsed())
    };
    // A closed standard output is no reason to panic.
    let _ = std::io::stdout().write_all(text.as_bytes());
    if reports.iter().all(Report::usable) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The config, or why it ends here. What is named on the command line needs none.
fn loaded(args: &ProbeArgs) -> Result<Option<Config>, ExitCode> {
    let flags = Flags { config: args.config.clone(), set: args.set.clone(), ..Flags::default() };
    let named = args.config.is_some()
        || !args.set.is_empty()
        || variable("CAUSEWAY_CONFIG").is_some_and(|name| !name.is_empty());
    let error = match config::load(&flags, &variable) {
        Ok(loaded) => return Ok(Some(loaded.config)),
        Err(error) => error,
    };
    let mut err = std::io::stderr();
    match error {
        LoadError::NothingConfigured if args.what.is_empty() => {
            let _ = err.write_all(NOTHING.as_bytes());
            Err(ExitCode::from(error.exit_code()))
        }
        LoadError::NothingConfigured => Ok(None),
        _ if args.what.is_empty() || named => {
            let _ = err.write_all(super::unloaded(&error).as_bytes());
            Err(ExitCode::from(error.exit_code()))
        }
        // It was not asked for.
        _ => {
            let _ = err.write_all(b"The config has problems, so its settings are not used here: causeway check\n");
            Ok(None)
        }
    }
}

const NOTHING: &str = "\
Nothing to test: no causeway.toml here or in /etc/causeway, and no address.
Either of these lines would do, for an app on port 3000:
  causeway probe 3000
  CAUSEWAY_UPSTREAMS=3000 causeway probe
";
