//! What happens, as it happens: `/api/events`, server-sent events (WHATWG HTML §9.2) for pages and scripts.
//!
//! Each event is the object of its log line. A task for each stream fetches what is new and hands it on; a client that
//! takes nothing for [`SLOW`], or that has missed what is kept no longer, loses its connection: nobody waits for it.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::observe::events::{self, Feed, Told};

use super::answer::{self, Answer, Refusal};

/// Streams at once.
const STREAMS: usize = 64;
/// What is told of the past to who does not say what it has seen.
const PAST: usize = 50;
/// A sign of life where nothing happens.
const BEAT: Duration = Duration::from_secs(15);
/// A client that takes nothing for so long is cut.
const SLOW: Duration = Duration::from_secs(20);
/// When the proxy ends, streams may take so long to end with their last event.
const LAST: Duration = Duration::from_millis(300);

/// All streams of an admin.
#[derive(Debug)]
pub(super) struct Streams {
    feed: Arc<Feed>,
    free: Arc<Semaphore>,
    ending: CancellationToken,
}

/// The connection that a request came on, as far as a stream must know it.
#[derive(Clone, Debug, Default)]
pub(super) struct Line {
    /// A stream runs on it: it may grow old.
    streaming: Arc<AtomicBool>,
    /// It is cut.
    cut: CancellationToken,
}

/// A line that may grow old.
pub(super) struct Held(Arc<AtomicBool>);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.store(false, Relaxed);
    }
}

impl Line {
    /// Does a stream run on it?
    pub(super) fn streams(&self) -> bool {
        self.streaming.load(Relaxed)
    }

    /// It may grow old until this is dropped: something takes its time.
    pub(super) fn hold(&self) -> Held {
        self.streaming.store(true, Relaxed);
        Held(Arc::clone(&self.streaming))
    }

    /// Resolves when it is to be cut.
    pub(super) async fn cut(&self) {
        self.cut.cancelled().await;
    }
}

impl Streams {
    /// None yet, of the events of the log that is in force on this thread.
    pub(super) fn new() -> Self {
        let free = Arc::new(Semaphore::new(STREAMS));
        Self { feed: events::feed(), free, ending: CancellationToken::new() }
    }

    /// Ends them all with what has happened so far, and waits a moment for that.
    pub(super) async fn end(&self) {
        self.ending.cancel();
        let all = u32::try_from(STREAMS).unwrap_or(u32::MAX);
        let _ = timeout(LAST, self.free.acquire_many(all)).await;
    }

    /// A stream, from where the client left off: Last-Event-ID as a browser sends it when it comes back, or `after=` of
    /// the query.
    pub(super) fn open(
        &self,
        method: &Method,
        fields: &HeaderMap,
        query: &str,
        line: Option<&Line>,
    ) -> Result<Answer, Refusal> {
        let seen = seen(fields, query)?;
        let (first, stream) = mpsc::channel(1);
        if method != Method::HEAD {
            let Ok(permit) = Arc::clone(&self.free).try_acquire_owned() else {
                let why = format!("{STREAMS} streams are open, and no more are given. Close one, or try again later.");
                return Err((StatusCode::SERVICE_UNAVAILABLE, why));
            };
            let line = line.cloned().unwrap_or_default();
            line.streaming.store(true, Relaxed);
            let follower = Follower { feed: Arc::clone(&self.feed), out: first, line, ending: self.ending.clone() };
            tokio::spawn(follower.run(seen, permit));
        }
        let mut answer = answer::stream("text/event-stream", stream);
        // A proxy in front of the admin must not gather it.
        answer.headers_mut().insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
        Ok(answer)
    }
}

/// The sequence of the last event that the client has seen; the field is newer than the address.
fn seen(fields: &HeaderMap, query: &str) -> Result<Option<u64>, Refusal> {
    let field = fields.get("last-event-id").and_then(|value| value.to_str().ok()).filter(|value| !value.is_empty());
    let after = || query.split('&').find_map(|pair| pair.strip_prefix("after="));
    let Some(said) = field.or_else(after) else { return Ok(None) };
    let why = "after is the id of the last event that was seen: a whole number.";
    said.parse().map(Some).map_err(|_| (StatusCode::BAD_REQUEST, why.to_owned()))
}

/// Who carries events to one client.
struct Follower {
    feed: Arc<Feed>,
    out: mpsc::Sender<Bytes>,
    line: Line,
    ending: CancellationToken,
}

impl Follower {
    async fn run(self, seen: Option<u64>, permit: OwnedSemaphorePermit) {
        if !self.follow(seen).await {
            self.line.cut.cancel();
        }
        self.line.streaming.store(false, Relaxed);
        // The end of the stream first, then its place is free.
        drop(self);
        drop(permit);
    }

    /// Carries until somebody ends it; `false`: the client is too slow.
    async fn follow(&self, seen: Option<u64>) -> bool {
        let mut newest = self.feed.newest();
        let now = *newest.borrow_and_update();
        let mut text = String::from("retry: 2000\n\n");
        let mut seen = match seen {
            Some(seen) => {
                let news = self.feed.after(seen);
                if news.missed > 0 {
                    text.push_str(": what came before these is kept no longer\n\n");
                }
                news.events.iter().for_each(|told| write(&mut text, told));
                news.events.last().map_or(seen.min(now), |told| told.sequence)
            }
            None => {
                let past = self.feed.last(PAST);
                past.iter().for_each(|told| write(&mut text, told));
                past.last().map_or(now, |told| told.sequence)
            }
        };
        loop {
            match timeout(SLOW, self.out.send(text.into())).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return true,
                Err(_) => return false,
            }
            let ended = tokio::select! {
                biased;
                () = self.out.closed() => return true,
                _ = newest.changed() => false,
                () = self.ending.cancelled() => true,
                () = sleep(BEAT) => false,
            };
            let news = self.feed.after(seen);
            if news.missed > 0 {
                return false;
            }
            text = String::new();
            for told in &news.events {
                write(&mut text, told);
                seen = told.sequence;
            }
            if text.is_empty() {
                if ended {
                    return true;
                }
                text.push_str(":\n\n");
            }
        }
    }
}

/// One event. Its object is one line of ASCII, whatever it tells of.
fn write(out: &mut String, told: &Told) {
    let event = if told.event.is_empty() { "log" } else { &told.event };
    let _ = write!(out, "id: {}\nevent: {event}\ndata: {}\n\n", told.sequence, told.json);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_three_lines() {
        let mut out = String::new();
        write(&mut out, &Told { sequence: 7, event: "drained".into(), json: "{}".into() });
        write(&mut out, &Told { sequence: 8, event: String::new(), json: "{}".into() });
        assert_eq!(out, "id: 7\nevent: drained\ndata: {}\n\nid: 8\nevent: log\ndata: {}\n\n");
    }

    #[test]
    fn a_browser_that_comes_back_says_where_it_was() {
        let mut fields = HeaderMap::new();
        assert_eq!(seen(&fields, ""), Ok(None));
        assert_eq!(seen(&fields, "x=1&after=12"), Ok(Some(12)));
        fields.insert("last-event-id", HeaderValue::from_static("15"));
        assert_eq!(seen(&fields, "after=12"), Ok(Some(15)));
        assert_eq!(seen(&HeaderMap::new(), "after=a").unwrap_err().0, StatusCode::BAD_REQUEST);
    }

    fn streams() -> Streams {
        Streams { feed: Arc::new(Feed::new(1)), ..Streams::new() }
    }

    /// Taken, or still pending: what a body has to give.
    async fn taken(answer: &mut Answer) -> Option<String> {
        let frame = http_body_util::BodyExt::frame(answer.body_mut()).await?.unwrap();
        Some(String::from_utf8(frame.into_data().unwrap().to_vec()).unwrap())
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_for_a_client_that_takes_nothing() {
        let (streams, line) = (streams(), Line::default());
        let answer = streams.open(&Method::GET, &HeaderMap::new(), "", Some(&line)).unwrap();
        assert!(line.streams() && streams.free.available_permits() == STREAMS - 1);
        // The first piece waits to be taken, the sign of life behind it is not.
        let begun = tokio::time::Instant::now();
        line.cut().await;
        assert_eq!(begun.elapsed(), BEAT + SLOW);
        streams.end().await;
        assert!(!line.streams() && streams.free.available_permits() == STREAMS);
        drop(answer);
    }

    #[tokio::test(start_paused = true)]
    async fn who_misses_something_is_cut_and_may_come_back() {
        let (streams, line) = (streams(), Line::default());
        let mut answer = streams.open(&Method::GET, &HeaderMap::new(), "", Some(&line)).unwrap();
        assert_eq!(taken(&mut answer).await.unwrap(), "retry: 2000\n\n");
        for _ in 0..=events::feed::KEPT {
            streams.feed.tell("event".into(), "{}".into());
        }
        assert_eq!(taken(&mut answer).await, None);
        line.cut().await;
        let mut again = streams.open(&Method::GET, &HeaderMap::new(), "after=1", None).unwrap();
        assert!(taken(&mut again).await.unwrap().contains("\n\nid: 2\n"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_quiet_stream_shows_that_it_lives() {
        let (streams, begun) = (streams(), tokio::time::Instant::now());
        let mut answer = streams.open(&Method::GET, &HeaderMap::new(), "", None).unwrap();
        taken(&mut answer).await;
        assert_eq!((taken(&mut answer).await.as_deref(), begun.elapsed()), (Some(":\n\n"), BEAT));
        streams.feed.tell("drained".into(), "{}".into());
        streams.ending.cancel();
        assert!(taken(&mut answer).await.unwrap().starts_with("id: 1\n"), "the last word first");
        assert_eq!(taken(&mut answer).await, None);
    }
}
