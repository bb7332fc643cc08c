//! From `tracing` to lines: a layer that writes each event as a person or a machine wants it, and never waits.
//!
//! Human form: time, level, message, and below it the items of a list, if there is one. JSON: `time`, `level`, `event`,
//! the fields, `message`. A field called `list.NAME` is a list: an item a line, and `count` has how many there are in
//! all. The same object goes to the [`Feed`], from level info on, whatever the log's own level and form are.

use std::fmt::{self, Write};
use std::io;
use std::sync::Arc;
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

use super::feed::Feed;

/// How the name of a field begins that is a list.
const LIST: &str = "list.";
/// Items of a list that a person sees.
const SHOWN: usize = 20;

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

/// Starts the events log and makes it the process's own. A second call in one process (tests) leaves the first in
/// place.
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
    let started = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let feed = Arc::new(Feed::new(u64::try_from(started.as_millis()).unwrap_or_default()));
    let (logged, fed) = (from(level), from(LevelFilter::INFO));
    let layer = Sink { lines: lines.clone(), human, feed, logged, fed }.with_filter(from(level.max(LevelFilter::INFO)));
    Ok((Events { lines, human }, Registry::default().with(layer)))
}

/// From this level on. Libraries are heard where they warn; their inner life only at `trace`. What h2 warns of is what
/// clients do: a line for each connection of whoever floods, which would fill the disk.
fn from(level: LevelFilter) -> Targets {
    let (others, h2) = match level {
        LevelFilter::TRACE => (level, level),
        level => (level.min(LevelFilter::WARN), level.min(LevelFilter::ERROR)),
    };
    Targets::new().with_default(others).with_target("causeway", level).with_target("h2", h2)
}

/// The latest events of the log that is in force on this thread; of none, a feed that stays empty.
#[must_use]
pub fn feed() -> Arc<Feed> {
    let found = tracing::dispatcher::get_default(|log| log.downcast_ref::<Sink>().map(|sink| Arc::clone(&sink.feed)));
    found.unwrap_or_else(|| Arc::new(Feed::new(1)))
}

struct Sink {
    lines: Lines,
    human: bool,
    feed: Arc<Feed>,
    logged: Targets,
    fed: Targets,
}

impl<S: Subscriber> Layer<S> for Sink {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let (now, metadata) = (Utc::from(SystemTime::now()), event.metadata());
        let level = metadata.level().as_str().to_ascii_lowercase();
        let goes = |to: &Targets| to.would_enable(metadata.target(), metadata.level());
        let (logged, fed) = (goes(&self.logged), goes(&self.fed));
        if logged && self.human {
            self.lines.line(|out| {
                let _ = write!(out, "{} {level:<6}", now.clock());
                let mut human = Human { out, items: String::new(), count: 0 };
                event.record(&mut human);
                human.end();
            });
        }
        if !fed && (self.human || !logged) {
            return;
        }
        let mut json = format!("{{\"time\":\"{}\",\"level\":\"{level}\"", now.millis());
        let mut fields = Fields { out: &mut json, message: None, name: String::new() };
        event.record(&mut fields);
        let (message, name) = (fields.message, fields.name);
        if let Some(message) = message {
            json.push_str(",\"message\":");
            json::string(&mut json, &message);
        }
        json.push('}');
        if logged && !self.human {
            self.lines.bytes(|out| out.extend_from_slice(json.as_bytes()));
        }
        if fed {
            self.feed.tell(name, json);
        }
    }
}

/// Only the message. What may have come from outside cannot speak to the terminal.
struct Human<'a> {
    out: &'a mut String,
    items: String,
    count: u64,
}

impl Human<'_> {
    /// The list, each item on a line of its own.
    fn end(self) {
        let Self { out, items, count } = self;
        // Of lines there may be more than of what they are about.
        let count = count.max(items.lines().count() as u64);
        let mut shown = 0;
        for item in items.lines().take(SHOWN) {
            let _ = write!(out, "\n    {}", ascii(item));
            shown += 1;
        }
        if count > shown && shown > 0 {
            let _ = write!(out, "\n    and {} more", count - shown);
        }
    }
}

impl Visit for Human<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            // A backslash stays one: bytes from outside were escaped where they were seen.
            self.out.push_str(&ascii(&format!("{value:?}")));
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name().starts_with(LIST) {
            value.clone_into(&mut self.items);
        }
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        if field.name() == "count" {
            self.count = value;
        }
    }
}

/// All fields in order, the message kept for the end, and the event's name noted.
struct Fields<'a> {
    out: &'a mut String,
    message: Option<String>,
    name: String,
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
        if field.name() == "event" {
            value.clone_into(&mut self.name);
        }
        if let Some(name) = field.name().strip_prefix(LIST) {
            let _ = write!(self.out, ",\"{name}\":[");
            for (index, item) in value.lines().enumerate() {
                self.out.push_str(if index > 0 { "," } else { "" });
                json::string(self.out, item);
            }
            self.out.push(']');
            return;
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_clients_do_to_h2_is_no_line_of_the_log() {
        for level in [LevelFilter::INFO, LevelFilter::WARN, LevelFilter::DEBUG] {
            assert!(!from(level).would_enable("h2::proto::streams::recv", &tracing::Level::WARN));
            assert!(from(level).would_enable("other", &tracing::Level::WARN));
        }
        assert!(from(LevelFilter::TRACE).would_enable("h2::proto::streams::recv", &tracing::Level::WARN));
    }
}
