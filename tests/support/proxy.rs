//! A proxy in this process, with real sockets: configured by a piece of TOML, asked over TCP.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use causeway::app::{Hooks, Refused, Server};
use causeway::config::Config;
use causeway::health::State;
use causeway::observe::exchange::EndedBy;
use causeway::observe::{Exchange, Outcome};
use tokio::sync::Notify;

/// What is remembered of a finished exchange.
#[derive(Clone, Debug)]
pub struct Seen {
    pub status: u16,
    pub cause: Option<&'static str>,
    /// Each attempt: upstream, then its cause or status.
    pub attempts: Vec<(String, String)>,
    pub rescued: bool,
    pub bytes_in: u64,
    pub bytes_out: u64,
    pub ended_by: EndedBy,
    pub version: http::Version,
}

impl Seen {
    fn of(exchange: &Exchange) -> Self {
        let outcome = |outcome: &Outcome| match outcome {
            Outcome::Answered(status) => status.to_string(),
            Outcome::Failed(failure) => failure.cause.token().to_owned(),
        };
        Self {
            status: exchange.status,
            cause: exchange.failure.as_ref().map(|failure| failure.cause.token()),
            attempts: exchange.attempts.iter().map(|a| (a.upstream.to_string(), outcome(&a.outcome))).collect(),
            rescued: exchange.rescued(),
            bytes_in: exchange.bytes_in,
            bytes_out: exchange.bytes_out,
            ended_by: exchange.ended_by,
            version: exchange.version,
        }
    }
}

#[derive(Default)]
struct Log {
    seen: Mutex<Vec<Seen>>,
    more: Notify,
}

/// What every test says, and this; where this says `listen` or `workers` itself, that holds.
fn parsed(config: &str) -> Config {
    let unless_said = |key: &str, line: &str| if config.starts_with(key) { String::new() } else { format!("{line}\n") };
    let text = format!(
        "admin.address = \"off\"\nlog.access = \"off\"\nshutdown.timeout = \"2s\"\n{}{}{config}",
        unless_said("listen = ", "listen = \"127.0.0.1:0\""),
        unless_said("workers = ", "workers = 2"),
    );
    Config::from_toml(&text).unwrap_or_else(|problems| panic!("{problems:#?}\n{text}"))
}

/// A running proxy; dropping it ends its threads.
pub struct Proxy {
    server: Option<Server>,
    pub address: SocketAddr,
    log: Arc<Log>,
}

impl Proxy {
    /// With this configuration; `listen`, admin and logs are set here.
    pub fn start(config: &str) -> Self {
        Self::changed_file(config, |_| {})
    }

    /// The same, with a word on what the file has said.
    pub fn changed_file(config: &str, change: impl Fn(&mut Config)) -> Self {
        Self::of(parsed(config), change)
    }

    /// Puts this in place of the configuration that it was started with. An error is the sentence that says why not.
    pub async fn reload(&self, config: &str) -> Result<(), String> {
        match self.server().reload(parsed(config)).await {
            Ok(_) => Ok(()),
            Err(Refused::Cannot(why)) => Err(why),
            Err(Refused::Config(error)) => Err(error.to_string()),
        }
    }

    fn of(mut config: Config, change: impl Fn(&mut Config)) -> Self {
        change(&mut config);
        let log = Arc::new(Log::default());
        let writer = Arc::clone(&log);
        let on_exchange = move |exchange: &Exchange| {
            writer.seen.lock().unwrap_or_else(PoisonError::into_inner).push(Seen::of(exchange));
            writer.more.notify_waiters();
        };
        let hooks = Hooks { on_exchange: Some(Arc::new(on_exchange)), on_transition: None };
        let server = Server::start(config, hooks).unwrap();
        let address = server.addresses()[0].1[0];
        Self { server: Some(server), address, log }
    }

    /// One pool `app` of these upstreams, without checks, and more keys for the end of the file.
    pub fn unchecked(upstreams: &[SocketAddr], more: &str) -> Self {
        Self::with("", upstreams, more)
    }

    /// The same, with keys for the top of the file.
    pub fn with(top: &str, upstreams: &[SocketAddr], more: &str) -> Self {
        let list: Vec<String> = upstreams.iter().map(|address| format!("\"{address}\"")).collect();
        Self::start(&format!("{top}\n[pool.app]\nupstreams = [{}]\nhealth.type = \"off\"\n{more}", list.join(", ")))
    }

    /// As [`Proxy::unchecked`], with a word on what the file has said.
    pub fn changed(upstreams: &[SocketAddr], more: &str, change: impl Fn(&mut Config)) -> Self {
        let list: Vec<String> = upstreams.iter().map(|address| format!("\"{address}\"")).collect();
        let text = format!("[pool.app]\nupstreams = [{}]\nhealth.type = \"off\"\n{more}", list.join(", "));
        Self::changed_file(&text, change)
    }

    pub fn server(&self) -> &Server {
        self.server.as_ref().unwrap()
    }

    /// Waits until an upstream of the first pool is in this state.
    pub async fn until(&self, upstream: usize, state: State) {
        let pool = &self.server().pools()[0];
        let mut changes = pool.changes();
        let there = async {
            while pool.members()[upstream].health.state() != state {
                changes.changed().await.unwrap();
            }
        };
        tokio::time::timeout(Duration::from_secs(20), there).await.unwrap_or_else(|_| panic!("never {state:?}"));
    }

    /// Waits for the nth finished exchange (from 0) and returns it.
    pub async fn exchange(&self, index: usize) -> Seen {
        let there = async {
            loop {
                let mut more = std::pin::pin!(self.log.more.notified());
                more.as_mut().enable();
                if let Some(seen) = self.log.seen.lock().unwrap().get(index) {
                    return seen.clone();
                }
                more.await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), there).await.unwrap_or_else(|_| panic!("no exchange {index}"))
    }

    /// All that have finished so far.
    pub fn exchanges(&self) -> Vec<Seen> {
        self.log.seen.lock().unwrap().clone()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if let Some(server) = self.server.take() {
            server.finish();
        }
    }
}
