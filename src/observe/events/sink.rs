//! From `tracing` to lines: a layer that writes each event as a person or a machine wants it, and never waits.
//!
//! Human form: time, level, message, nothing else. JSON: `time`, `level`, `event`, the fields, `message`.

use std::fmt::{self, Write};
use std::io;
use std::time::{Duration, SystemTime};

use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::{Event, Subscriber};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::registry::Registry;

use crate::config::model::{Level, Log};
use crate::config::problem::ascii;
use crate::observe::json;
use crate::observe::lines::{self, Lines};
use crate::observe::time::Utc;

/// The handle of the events log; cheap to clone.
#[derive(Clone, Debug)]
pub struct Events {
    lines: Lines,
    human: bool,
}

impl Events {
    /// Are they written for a person, on a terminal?
    #[must_use]
    pub const fn human(&self) -> bool {
        self.human
    }

    /// Lines dropped since the start.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.lines.dropped()
    }

    /// Closes and opens the file again (USR1).
    pub fn reopen(&self) {
        self.lines.reopen();
    }

    /// Waits until all that was said is out (end of the process), at most this long.
    pub fn flush(&self, at_most: Duration) {
        self.lines.flush(at_most);
    }
}

/// Starts the events log and makes it the process's own. A second call in one process (tests) leaves the first in place.
///
/// # Errors
/// When the file cannot be opened.
pub fn init(log: &Log) -> io::Result<Events> {
    let (events, subscriber) = subscriber(log)?;
    let _ = tracing::subscriber::set_global_default(subscriber);
    Ok(events)
}

/// The same, for one thread or scope (tests): nothing global is touched.
///
/// # Errors
/// When the file cannot be opened.
pub fn subscriber(log: &Log) -> io::Result<(Events, impl Subscriber + Send + Sync + 'static)> {
    // One slot keeps events in order; none waits for company, for a person may be watching.
    let lines = Lines::start("events", &log.events, 1, Duration::ZERO)?;
    let human = lines::is_terminal(&log.events);
    let level = match log.level {
        Level::Error => LevelFilter::ERROR,
        Level::Warn => LevelFilter::WARN,
        Level::Info => LevelFilter::INFO,
        Level::Debug => LevelFilter::DEBUG,
        Level::Trace => LevelFilter::TRACE,
    };
    // Libraries are heard where they warn; their inner life only at `trace`.
    let others = if level == LevelFilter::TRACE { level } else { level.min(LevelFilter::WARN) };
    let filter = Targets::new().with_default(others).with_target("causeway", level);
    let layer = Sink { lines: lines.clone(), human }.with_filter(filter);
    Ok((Events { lines, human }, Registry::default().with(layer)))
}

struct Sink {
    lines: Lines,
    human: bool,
}

impl<S: Subscriber> Layer<S> for Sink {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let now = Utc::from(SystemTime::now());
        let level = event.metadata().level().as_str();
        self.lines.line(|out| {
            if self.human {
                let _ = write!(out, "{} {:<6}", now.clock(), level.to_ascii_lowercase());
                event.record(&mut Human { out });
            } else {
                let _ = write!(out, "{{\"time\":\"{}\",\"level\":\"{}\"", now.millis(), level.to_ascii_lowercase());
                let mut fields = Fields { out, message: None };
                event.record(&mut fields);
                if let Some(message) = fields.message {
                    out.push_str(",\"message\":");
                    json::string(out, &message);
                }
                out.push('}');
            }
        });
    }
}

/// Only the message. What may have come from outside cannot speak to the terminal.
struct Human<'a> {
    out: &'a mut String,
}

impl Visit for Human<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            // A backslash stays one: bytes from outside were escaped where they were seen.
            self.out.push_str(&ascii(&format!("{value:?}")));
        }
    }
}

/// All fields in order, the message kept for the end.
struct Fields<'a> {
    out: &'a mut String,
    message: Option<String>,
}

impl Fields<'_> {
    fn plain(&mut self, field: &Field, value: impl fmt::Display) {
        let _ = write!(self.out, ",\"{}\":{value}", field.name());
    }
}

impl Visit for Fields<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let text = format!("{value:?}");
        if field.name() == "message" {
            self.message = Some(text);
        } else {
            self.record_str(field, &text);
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        let _ = write!(self.out, ",\"{}\":", field.name());
        json::string(self.out, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.plain(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.plain(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.plain(field, value);
    }
}
