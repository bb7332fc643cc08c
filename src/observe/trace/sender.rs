//! Spans on their way to a collector: a bounded queue, and a thread that posts what is in it (OTLP/HTTP, protobuf).
//!
//! A worker that hands over spans holds a lock for the time of a push; the thread takes them all in one swap. What does
//! not fit, and what the collector does not take, is counted and told.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use http::HeaderMap;
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use opentelemetry_proto::tonic::common::v1::InstrumentationScope;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message;

use crate::observe::Exchange;
use crate::observe::events;

use super::context::Context;
use super::post::post;
use super::settings::{Collector, Sampler, Settings};
use super::spans;

/// So many spans are one batch: at most some MiB.
const BATCH: usize = 512;
/// A collector that says it is busy is asked once more, so much later.
const AGAIN: Duration = Duration::from_secs(1);
/// That it takes nothing is said this often.
const TOLD: Duration = Duration::from_secs(60);

/// Where finished exchanges become spans; cheap to clone. The last one to go ends the thread.
#[derive(Clone, Debug)]
pub struct Traces(Option<Arc<Handle>>);

#[derive(Debug)]
struct Handle {
    sampler: Sampler,
    /// The collector, for people.
    to: String,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    room: usize,
    delay: Duration,
    queue: Mutex<Queue>,
    /// Something cannot wait: a full batch, a flush, the end.
    urgent: Condvar,
    flushed: Condvar,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: Vec<Span>,
    /// Spans that the thread has in hand.
    sending: u64,
    /// Spans that did not fit since that was told.
    lost: u64,
    /// Flushes asked for, and how many of them are done.
    asked: u64,
    done: u64,
    closing: bool,
}

impl Traces {
    /// None.
    #[must_use]
    pub const fn off() -> Self {
        Self(None)
    }

    /// As the environment says. Where that cannot be followed there are no traces, and an event says why: traffic goes
    /// on.
    #[must_use]
    pub fn from_env(service: &str) -> Self {
        let settings = match Settings::of(|name| std::env::var(name).ok(), service) {
            Ok(None) => return Self(None),
            Ok(Some(settings)) => settings,
            Err(why) => {
                events::traces_off(&why);
                return Self(None);
            }
        };
        let to = format!("http://{}{}", settings.collector.authority, settings.collector.path);
        match Self::start(settings) {
            Ok(traces) => {
                events::traces_on(&to);
                traces
            }
            Err(error) => {
                events::traces_off(&error.to_string());
                Self(None)
            }
        }
    }

    fn start(settings: Settings) -> std::io::Result<Self> {
        let Settings { collector, sampler, resource, delay, room } = settings;
        let (queue, urgent, flushed) = Default::default();
        let shared = Arc::new(Shared { room, delay, queue, urgent, flushed });
        let to = collector.authority.clone();
        let sender = Sender { shared: Arc::clone(&shared), collector, resource: named(resource), told: None, lost: 0 };
        thread::Builder::new().name("traces".to_owned()).spawn(move || sender.run())?;
        Ok(Self(Some(Arc::new(Handle { sampler, to, shared }))))
    }

    /// The place in its trace of a request with these fields, where there is to be one.
    #[must_use]
    pub fn begin(&self, fields: &HeaderMap) -> Option<Context> {
        self.0.as_ref().and_then(|handle| Context::of(fields, handle.sampler))
    }

    /// An exchange has ended. Never waits for anybody.
    pub fn end(&self, exchange: &Exchange) {
        let (Some(handle), Some(context)) = (&self.0, exchange.trace.as_ref().filter(|context| context.sampled()))
        else {
            return;
        };
        let spans = spans::of(exchange, context);
        let shared = &handle.shared;
        let mut queue = shared.lock();
        if queue.waiting.len() + spans.len() > shared.room {
            queue.lost += spans.len() as u64;
            return;
        }
        let before = queue.waiting.len();
        queue.waiting.extend(spans);
        let full = before < shared.batch() && queue.waiting.len() >= shared.batch();
        drop(queue);
        if full {
            shared.urgent.notify_one();
        }
    }

    /// Waits until all that was handed over so far has been posted, at most this long. What is not is told as lost:
    /// this is the end of the process.
    pub fn flush(&self, at_most: Duration) {
        let Some(handle) = &self.0 else { return };
        let mut queue = handle.shared.lock();
        queue.asked += 1;
        let mine = queue.asked;
        handle.shared.urgent.notify_one();
        // A collector that takes nothing must not hold up the end of the process.
        let waited = handle.shared.flushed.wait_timeout_while(queue, at_most, |queue| queue.done < mine);
        let (queue, _) = waited.unwrap_or_else(PoisonError::into_inner);
        let lost = queue.waiting.len() as u64 + queue.sending + queue.lost;
        if queue.done < mine && lost > 0 {
            drop(queue);
            events::spans_lost(lost, &handle.to, "it did not answer before the end");
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.lock().closing = true;
        self.shared.urgent.notify_one();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        // A panic under it leaves at worst a request half told.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// So many are worth a POST before their time.
    fn batch(&self) -> usize {
        BATCH.min(self.room)
    }
}

/// What runs on the thread.
struct Sender {
    shared: Arc<Shared>,
    collector: Collector,
    resource: Resource,
    /// When it was last said that spans are lost, and how many were since.
    told: Option<Instant>,
    lost: u64,
}

impl Sender {
    fn run(mut self) {
        loop {
            let shared = Arc::clone(&self.shared);
            let calm =
                |queue: &mut Queue| queue.waiting.len() < shared.batch() && queue.asked == queue.done && !queue.closing;
            let waited = shared.urgent.wait_timeout_while(shared.lock(), shared.delay, calm);
            let (mut queue, _) = waited.unwrap_or_else(PoisonError::into_inner);
            let (spans, asked, closing) = (std::mem::take(&mut queue.waiting), queue.asked, queue.closing);
            let unfit = std::mem::take(&mut queue.lost);
            queue.sending = spans.len() as u64;
            let last = closing || asked > queue.done;
            drop(queue);
            let mut why = (unfit > 0).then(|| "more spans than it takes".to_owned());
            self.lost += unfit;
            let mut spans = spans.into_iter().peekable();
            while spans.peek().is_some() {
                let batch: Vec<Span> = spans.by_ref().take(BATCH).collect();
                let count = batch.len() as u64;
                match self.send(batch, last) {
                    Ok(0) => {}
                    Ok(rejected) => {
                        self.lost += rejected;
                        why = Some("it refused some".to_owned());
                    }
                    Err(error) => {
                        self.lost += count;
                        why = Some(error);
                    }
                }
            }
            self.tell(why.as_deref(), closing);
            let mut queue = shared.lock();
            (queue.done, queue.sending) = (asked, 0);
            drop(queue);
            shared.flushed.notify_all();
            if closing {
                return;
            }
        }
    }

    /// Posts a batch; says how many of it the collector refused. `last`: there is no time to ask again.
    fn send(&self, spans: Vec<Span>, last: bool) -> Result<u64, String> {
        let scope = InstrumentationScope {
            name: "causeway".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            ..InstrumentationScope::default()
        };
        let scope_spans = vec![ScopeSpans { scope: Some(scope), spans, ..ScopeSpans::default() }];
        let resource = Some(self.resource.clone());
        let resource_spans = vec![ResourceSpans { resource, scope_spans, ..ResourceSpans::default() }];
        let body = ExportTraceServiceRequest { resource_spans }.encode_to_vec();
        let mut answer = post(&self.collector, &body).map_err(|error| error.to_string())?;
        if matches!(answer.status, 429 | 502..=504) && !last {
            let queue = self.shared.lock();
            // The time to wait ends early where the process does.
            drop(
                self.shared
                    .urgent
                    .wait_timeout_while(queue, AGAIN, |queue| !queue.closing && queue.asked == queue.done),
            );
            answer = post(&self.collector, &body).map_err(|error| error.to_string())?;
        }
        match answer.status {
            200..=299 => {
                let said = ExportTraceServiceResponse::decode(&*answer.body).unwrap_or_default();
                Ok(said.partial_success.map_or(0, |part| u64::try_from(part.rejected_spans).unwrap_or_default()))
            }
            status => Err(format!("it answers with status {status}")),
        }
    }

    /// Says that spans are lost: at the first one, then once in a while, and at the end.
    fn tell(&mut self, why: Option<&str>, last: bool) {
        let due = self.told.is_none_or(|told| told.elapsed() >= TOLD);
        if self.lost > 0 && (due || last) {
            events::spans_lost(std::mem::take(&mut self.lost), &self.collector.authority, why.unwrap_or("see above"));
            self.told = Some(Instant::now());
        }
    }
}

fn named(attributes: Vec<(String, String)>) -> Resource {
    let version = ("service.version".to_owned(), env!("CARGO_PKG_VERSION").to_owned());
    let language = ("telemetry.sdk.language".to_owned(), "rust".to_owned());
    let name = ("telemetry.sdk.name".to_owned(), "causeway".to_owned());
    let mut all = attributes;
    for (key, value) in [version, language, name] {
        if all.iter().all(|(known, _)| *known != key) {
            all.push((key, value));
        }
    }
    let attributes = all.into_iter().map(|(key, value)| spans::pair(&key, Value::StringValue(value))).collect();
    Resource { attributes, ..Resource::default() }
}
