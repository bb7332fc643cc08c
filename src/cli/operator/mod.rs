//! `causeway drain|enable|disable POOL/UPSTREAM`: the operator's word on an upstream, said to the running proxy.
//!
//! `drain --wait` stays until nothing is left in flight there, or its time is over. [`words`] is what it says.

mod words;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Args;
use serde::Deserialize;

use crate::config::model::Token;
use crate::config::problem::ascii;
use crate::config::units;
use crate::config::{self, Address};

use super::ask::{Change, Question, escaped};
use super::run::variable;
use super::status::{self, NoStatus};

/// For all of asking.
const LIMIT: Duration = Duration::from_secs(10);
/// Of an answer, as many bytes are read.
const ANSWER: u64 = 16 << 20;
/// Of a token file, as many bytes are read: more than any has.
const TOKEN: u64 = 64 << 10;
/// Between two looks at what is still in flight.
const LOOK: Duration = Duration::from_millis(250);

/// The words of `causeway enable` and `causeway disable`.
#[derive(Args, Debug)]
pub struct SwitchArgs {
    /// Which upstream, as `causeway status` calls it: app/127.0.0.1:3000
    #[arg(value_name = "POOL/UPSTREAM")]
    target: String,
    /// The running proxy's admin address; else CAUSEWAY_ADMIN, the config's, 127.0.0.1:9901
    #[arg(long, value_name = "ADDR")]
    admin: Option<String>,
    /// For a proxy on another machine: what its admin.token_file holds; else CAUSEWAY_TOKEN_FILE
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

/// The words of `causeway drain`.
#[derive(Args, Debug)]
pub struct DrainArgs {
    #[command(flatten)]
    switch: SwitchArgs,
    /// Waits until nothing is in flight there any more, at most so long
    #[arg(long, value_name = "TIME", num_args = 0..=1, default_missing_value = "60s", value_parser = time)]
    wait: Option<Duration>,
}

/// What is said of an upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Word {
    /// Gets requests again.
    Enable,
    /// No new ones.
    Drain,
    /// None, and no client stays.
    Disable,
}

impl Word {
    const fn command(self) -> &'static str {
        match self {
            Self::Enable => "enable",
            Self::Drain => "drain",
            Self::Disable => "disable",
        }
    }

    /// As the API has it.
    const fn state(self) -> &'static str {
        match self {
            Self::Enable => "enabled",
            Self::Drain => "draining",
            Self::Disable => "disabled",
        }
    }
}

/// What the admin answers to a word.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Done {
    changed: Vec<Changed>,
    upstreams: Vec<Covered>,
    usable: usize,
    total: usize,
    sticky: bool,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Changed {
    upstream: String,
    from: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Covered {
    upstream: String,
    state: String,
    in_flight: u64,
}

/// `causeway enable`: 0 done, 1 not, 69 no proxy.
#[must_use]
pub fn enable(args: &SwitchArgs) -> ExitCode {
    done(Word::Enable, args, None)
}

/// `causeway disable`: the same.
#[must_use]
pub fn disable(args: &SwitchArgs) -> ExitCode {
    done(Word::Disable, args, None)
}

/// `causeway drain`: the same; 1 also where something is still in flight when the wait is over.
#[must_use]
pub fn drain(args: &DrainArgs) -> ExitCode {
    done(Word::Drain, &args.switch, args.wait)
}

fn done(word: Word, args: &SwitchArgs, wait: Option<Duration>) -> ExitCode {
    let Some((pool, upstream)) = args.target.split_once('/') else {
        return unknown(word, args, "write POOL/UPSTREAM.");
    };
    let done = match (say(word, args, (pool, upstream)), as_told(upstream)) {
        (Err(Trouble::Unknown(_)), Some(told)) => say(word, args, (pool, &told)),
        (done, _) => done,
    };
    let done = match done {
        Ok(done) => done,
        Err(Trouble::Unknown(why)) => return unknown(word, args, &why),
        Err(Trouble::Failed(why)) => return super::failed(word.command(), &why),
        Err(Trouble::NoProxy(why)) => return status::no_status(word.command(), &NoStatus::NoProxy(why)),
    };
    super::say(words::done(word, &ascii(pool), &done).trim_end());
    match wait {
        Some(limit) => waited(&ascii(pool), args, &done, limit),
        None => ExitCode::SUCCESS,
    }
}

enum Trouble {
    /// There is no such pool, or no such upstream.
    Unknown(String),
    Failed(String),
    NoProxy(String),
}

/// An address as `causeway status` tells it, where somebody has written it in another way that the file takes, too:
/// `https://app`.
fn as_told(upstream: &str) -> Option<String> {
    let told = Address::parse(upstream).ok()?.to_string();
    (told != upstream).then_some(told)
}

fn say(word: Word, args: &SwitchArgs, (pool, upstream): (&str, &str)) -> Result<Done, Trouble> {
    let token = token(args.token_file.as_deref()).map_err(Trouble::Failed)?;
    let target = format!("/api/pools/{}/upstreams/{}/state", escaped(pool), escaped(upstream));
    let accept = "application/json";
    let question = Question { admin: args.admin.clone(), target, accept, limit: LIMIT, most: ANSWER };
    let change = Change { body: format!("{{\"state\":\"{}\"}}", word.state()), token };
    let answer = question.put(change).map_err(|why| Trouble::NoProxy(why.to_string()))?;
    let somebody_else = || Trouble::NoProxy(answer.of_somebody_else());
    let first = || answer.body.lines().next().map(ascii);
    match (answer.status, answer.kind.as_str(), first()) {
        (200, "application/json", _) => match serde_json::from_str::<Done>(&answer.body) {
            Ok(done) if done.total > 0 => Ok(done),
            _ => Err(somebody_else()),
        },
        (404, "text/plain", Some(why)) => Err(Trouble::Unknown(why)),
        (400.., "text/plain", Some(why)) => Err(Trouble::Failed(why)),
        _ => Err(somebody_else()),
    }
}

/// The names that there are, of the proxy itself.
fn unknown(word: Word, args: &SwitchArgs, why: &str) -> ExitCode {
    match status::ask(args.admin.clone(), LIMIT) {
        Ok(status::Looked { status, .. }) => {
            let names: Vec<String> = status.names().iter().map(|name| ascii(name)).collect();
            super::failed(word.command(), &words::unknown(&ascii(&args.target), &names))
        }
        Err(NoStatus::Refused(_)) => super::failed(word.command(), &ascii(why)),
        Err(no_proxy @ NoStatus::NoProxy(_)) => status::no_status(word.command(), &no_proxy),
    }
}

/// Looks until nothing is in flight on what was drained.
#[allow(clippy::disallowed_methods)] // a command of its own: no worker waits here
fn waited(pool: &str, args: &SwitchArgs, done: &Done, limit: Duration) -> ExitCode {
    let (begun, mut admin) = (Instant::now(), args.admin.clone());
    let mut left: u64 = done.upstreams.iter().map(|one| one.in_flight).sum();
    while left > 0 {
        if begun.elapsed() >= limit {
            return super::failed("drain", &words::too_long(left, limit));
        }
        std::thread::sleep(LOOK.min(limit.saturating_sub(begun.elapsed())));
        let status = match status::ask(admin.clone(), LIMIT) {
            Ok(looked) => {
                admin = Some(looked.admin);
                looked.status
            }
            Err(why) => return status::no_status("drain", &why),
        };
        let here = status.pools.iter().filter(|one| ascii(&one.name) == pool).flat_map(|one| &one.upstreams);
        let drained = here.filter(|one| done.upstreams.iter().any(|covered| covered.upstream == one.upstream));
        // One that has left the pool since has nothing in flight that anybody could see.
        left = drained.map(|one| one.in_flight).sum();
    }
    super::say(&words::empty(begun.elapsed()));
    ExitCode::SUCCESS
}

/// Of `--token-file`, else of CAUSEWAY_TOKEN_FILE; without either none is needed on this machine.
pub(super) fn token(file: Option<&Path>) -> Result<Option<Token>, String> {
    let by_env = || variable("CAUSEWAY_TOKEN_FILE").filter(|name| !name.is_empty()).map(PathBuf::from);
    let Some(file) = file.map(Path::to_owned).or_else(by_env) else { return Ok(None) };
    let shown = ascii(&file.display().to_string());
    let content = config::file::read_or_handed(&file, TOKEN)
        .map_err(|error| format!("cannot read the token file {shown}: {error}"))?;
    Token::read(&content, file).map(Some).map_err(|(what, _)| format!("the token file {shown} {what}"))
}

fn time(text: &str) -> Result<Duration, String> {
    units::duration(text).map_err(|wrong| format!("{}: {}", wrong.message, wrong.hint))
}
