//! `POST /api/reload`: asks whoever reloads, waits, and says what changed or what is wrong (CONTRACT §6).
//!
//! Nothing is reloaded here, and who may ask is in [`guard`](super::guard). A reload that was begun goes on, whether or
//! not the client that asked for it is still there.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use serde_json::{Map, Value, json};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::config::keys::{self, Keys};
use crate::config::problem::{Origin, Severity, ascii};
use crate::config::{Change, LoadError, Problem, What};

use super::Admin;
use super::answer::{Answer, Refusal, problem};
use super::events::Line;

/// For a reload, those that wait before it included: many files may be read, and new listeners opened.
pub(super) const LIMIT: Duration = Duration::from_secs(30);

/// A reload is asked for: here goes what came of it.
pub type Ask = oneshot::Sender<Result<Told, Refused>>;

/// The new configuration is in force.
#[derive(Debug)]
pub struct Told {
    /// What it has that the old one had not.
    pub changes: Vec<Change>,
    /// Legal and foolish.
    pub warnings: Vec<Problem>,
}

/// Nothing was changed.
#[derive(Debug)]
pub enum Refused {
    /// There is no configuration to put in force.
    Config(LoadError),
    /// It cannot be put in force, for a reason that is not in it: a port is taken. Sentences for a person.
    Cannot(String),
}

impl fmt::Display for Refused {
    /// Sentences for a person, or the problems as `causeway check` prints them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(error) => error.fmt(f),
            Self::Cannot(why) => f.write_str(why),
        }
    }
}

impl Refused {
    /// How many things are wrong in the configuration, where they are known one by one.
    #[must_use]
    pub fn problems(&self) -> usize {
        match self {
            Self::Config(LoadError::Problems(problems)) => {
                problems.iter().filter(|problem| problem.severity == Severity::Error).count()
            }
            Self::Config(LoadError::Usage(_) | LoadError::NothingConfigured | LoadError::Unreadable(..))
            | Self::Cannot(_) => 0,
        }
    }
}

/// Asks, and waits. `line`: the connection that this was asked on, which may grow old meanwhile.
pub(super) async fn reload(admin: &Admin, line: Option<&Line>) -> Result<Answer, Refusal> {
    let (ask, told) = oneshot::channel();
    let over = |why: &str| (StatusCode::SERVICE_UNAVAILABLE, why.to_owned());
    admin.ask.try_send(ask).map_err(|error| match error {
        TrySendError::Full(_) => {
            over("Other reloads wait already: this one is not added to them. Try again in a few seconds.")
        }
        TrySendError::Closed(_) => over("This causeway is ending: nothing is reloaded any more."),
    })?;
    let _held = line.map(Line::hold);
    match timeout(LIMIT, told).await {
        Ok(Ok(Ok(told))) => Ok(super::answer::document(&done(&told))),
        Ok(Ok(Err(refused))) => Ok(not_done(&refused)),
        Ok(Err(_)) => Err(over("This causeway is ending: nothing was reloaded.")),
        Err(_) => {
            let why = format!(
                "The reload has not ended within {} s, and goes on: causeway status says what came of it.",
                LIMIT.as_secs()
            );
            Err((StatusCode::GATEWAY_TIMEOUT, why))
        }
    }
}

fn done(told: &Told) -> Value {
    json!({
        "changes": told.changes.iter().map(change).collect::<Vec<_>>(),
        "text": told.changes.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "warnings": problem_values(&told.warnings),
    })
}

fn not_done(refused: &Refused) -> Answer {
    match refused {
        Refused::Config(error) => {
            let text = error.to_string();
            let problems = match error {
                LoadError::Problems(problems) => problem_values(problems),
                LoadError::Usage(_) | LoadError::NothingConfigured | LoadError::Unreadable(..) => Vec::new(),
            };
            let body = json!({ "problems": problems, "text": text });
            problem(StatusCode::UNPROCESSABLE_ENTITY, &body)
        }
        Refused::Cannot(why) => {
            let text = format!("{}\n", why.trim_end());
            problem(StatusCode::CONFLICT, &json!({ "problems": [], "text": text }))
        }
    }
}

/// What became of a key, for machines.
fn change(change: &Change) -> Value {
    let mut all = Map::new();
    let mut put = |key: &str, value: Value| drop(all.insert(key.to_owned(), value));
    put("key", change.key.as_str().into());
    match &change.what {
        What::Set { from, to } => {
            put("what", "set".into());
            put("from", from.as_deref().into());
            put("to", to.as_deref().into());
        }
        What::Items { added, removed } => {
            put("what", "items".into());
            put("added", added.as_slice().into());
            put("removed", removed.as_slice().into());
        }
        What::Order => put("what", "order".into()),
        What::New => put("what", "new".into()),
        What::Gone => put("what", "gone".into()),
        What::Contents => put("what", "contents".into()),
    }
    Value::Object(all)
}

/// Each with its key; a text is looked through once.
fn problem_values(problems: &[Problem]) -> Vec<Value> {
    let mut last: Option<(&Arc<Origin>, Keys)> = None;
    let of = |problem| problem_value(problem, key(problem, &mut last));
    problems.iter().map(of).collect()
}

fn key<'a>(problem: &'a Problem, last: &mut Option<(&'a Arc<Origin>, Keys)>) -> Option<String> {
    let origin = &problem.place.origin;
    let (Some(text), Some(span)) = (&origin.text, &problem.place.span) else {
        return keys::of_flag(&problem.place).map(ascii);
    };
    if last.as_ref().is_none_or(|(own, _)| !Arc::ptr_eq(own, origin)) {
        *last = Some((origin, Keys::of(text)));
    }
    last.as_ref().and_then(|(_, keys)| keys.at(span.start)).map(ascii)
}

fn problem_value(problem: &Problem, key: Option<String>) -> Value {
    let mut all = json!({
        "file": ascii(&problem.place.origin.name),
        "message": ascii(&problem.message),
        "hint": ascii(&problem.hint),
        "severity": match problem.severity { Severity::Error => "error", Severity::Warning => "warning" },
        "text": problem.to_string(),
    });
    // Flags and variables have no lines.
    if let (Some(all), Some((line, column))) = (all.as_object_mut(), problem.place.line_and_column()) {
        all.extend([("line".to_owned(), line.into()), ("column".to_owned(), column.into())]);
    }
    if let (Some(all), Some(key)) = (all.as_object_mut(), key) {
        all.insert("key".to_owned(), key.into());
    }
    all
}
