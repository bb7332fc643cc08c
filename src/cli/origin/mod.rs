//! `causeway origin`: an upstream for trying, load tests and drills. It answers well, slowly or wrongly, as told.
//!
//! [`Origin`] is the same thing embedded, for the demo: it can be changed, stopped and started again while others talk
//! to it. A tiny HTTP/1 server of its own ([`request`]), because a good library would not let it go wrong.

mod answer;
mod connection;
pub mod fault;
mod request;

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use clap::Args;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, JoinSet};

use crate::config::problem::Wrong;
use crate::config::{ListenAddress, units};

/// Connections at once; the next one waits in the kernel's queue.
const CONNECTIONS: usize = 16_384;

/// The words of `causeway origin`.
#[derive(Args, Debug)]
#[command(after_help = fault::help())]
pub struct OriginArgs {
    /// Where it listens; port 0 takes a free one and prints it
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:3000", value_parser = listen)]
    listen: SocketAddr,
    /// How long it thinks before each answer, e.g. 200ms
    #[arg(long, value_name = "TIME", default_value = "0ms", value_parser = units::duration)]
    delay: Duration,
    /// Answers with this many bytes, e.g. 1KiB, in place of the echo
    #[arg(long, value_name = "SIZE", value_parser = units::size)]
    size: Option<u64>,
    /// The status of its good answers
    #[arg(long, value_name = "CODE", default_value_t = 200, value_parser = clap::value_parser!(u16).range(200..600))]
    status: u16,
    /// Who it says it is; the address unless said
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Goes wrong so that a proxy should name this cause; may be given more than once
    #[arg(long, value_name = "CAUSE[:PERCENT]")]
    fail: Vec<fault::Rule>,
}

impl OriginArgs {
    /// What clap cannot see in one word alone; `Err` is a usage error.
    ///
    /// # Errors
    /// When the faults add up to more than every request.
    pub fn checked(&self) -> Result<(), &'static str> {
        if fault::too_many(&self.fail) {
            return Err("the percentages of --fail add up to more than 100 (100 is meant where none is said)");
        }
        Ok(())
    }
}

/// One address of those that a listener of the proxy would take: IPv4 where both are meant.
fn listen(text: &str) -> Result<SocketAddr, Wrong> {
    Ok(match ListenAddress::parse(text)? {
        ListenAddress::Any(port) => SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), port),
        ListenAddress::Exact(addresses) => addresses[0], // never empty
        ListenAddress::Unix(_) | ListenAddress::Handed(_) => {
            let hint = "write it like \"127.0.0.1:3000\"";
            return Err(Wrong::new(format!("\"{text}\": this upstream listens on TCP addresses only"), hint));
        }
    })
}

/// Serves until Ctrl-C or TERM.
#[must_use]
pub fn run(args: OriginArgs) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return super::failed("origin", &error),
    };
    let listen = args.listen;
    let behaviour = Behaviour {
        name: args.name.unwrap_or_default(),
        delay: args.delay,
        size: args.size,
        status: args.status,
        faults: args.fail,
    };
    runtime.block_on(async {
        let ended = super::asked_to_end();
        let mut origin = match Origin::start(listen, behaviour).await {
            Ok(origin) => origin,
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                return super::failed("origin", &format!("{listen} is taken. Choose another with --listen."));
            }
            Err(error) => return super::failed("origin", &format!("cannot listen on {listen}: {error}")),
        };
        super::say(&format!("origin {} listens on http://{}", origin.name(), origin.address()));
        for rule in &origin.shared.behaviour.load().faults {
            if let Some((_, cause, does)) = fault::TABLE.iter().find(|(fault, ..)| *fault == rule.fault) {
                super::say(&format!("  {}% {cause}: {does}", rule.percent));
            }
        }
        ended.await;
        origin.stop().await;
        ExitCode::SUCCESS
    })
}

/// What an origin does with a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Behaviour {
    /// Who it says it is; empty: its address.
    pub name: String,
    /// Before each answer.
    pub delay: Duration,
    /// Bytes of its answers; `None`: an echo of the request.
    pub size: Option<u64>,
    /// Of its good answers. 200 to 599.
    pub status: u16,
    /// What goes wrong, and how often.
    pub faults: Vec<fault::Rule>,
}

impl Behaviour {
    /// Answers well and at once.
    #[must_use]
    pub fn good(name: &str) -> Self {
        Self { name: name.to_owned(), delay: Duration::ZERO, size: None, status: 200, faults: Vec::new() }
    }

    /// The same, always going wrong in this way.
    #[must_use]
    pub fn failing(mut self, fault: fault::Fault) -> Self {
        self.faults = vec![fault.into()];
        self
    }

    /// The same, slower.
    #[must_use]
    pub const fn slow(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }
}

/// What all connections of an origin share.
#[derive(Debug)]
struct Shared {
    behaviour: ArcSwap<Behaviour>,
}

/// An origin on a task of the current runtime. Ends when dropped.
#[derive(Debug)]
pub struct Origin {
    address: SocketAddr,
    shared: Arc<Shared>,
    running: Option<(oneshot::Sender<()>, JoinHandle<()>)>,
}

impl Origin {
    /// Listens and serves. Port 0 takes a free one, kept over [`Origin::restart`].
    ///
    /// # Errors
    /// When the address cannot be bound.
    pub async fn start(listen: SocketAddr, mut behaviour: Behaviour) -> io::Result<Self> {
        let listener = TcpListener::bind(listen).await?;
        let address = listener.local_addr()?;
        if behaviour.name.is_empty() {
            behaviour.name = address.to_string();
        }
        let shared = Arc::new(Shared { behaviour: ArcSwap::from_pointee(behaviour) });
        let running = Some(spawn(listener, &shared));
        Ok(Self { address, shared, running })
    }

    /// Where it listens, or did.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Who it says it is.
    #[must_use]
    pub fn name(&self) -> String {
        self.shared.behaviour.load().name.clone()
    }

    /// Changes what it does, from the next request of any connection on.
    pub fn set(&self, behaviour: Behaviour) {
        self.shared.behaviour.store(Arc::new(behaviour));
    }

    /// Closes its listener and all its connections, as a killed process would. On return, all are closed.
    pub async fn stop(&mut self) {
        if let Some((stop, task)) = self.running.take() {
            let _ = stop.send(());
            let _ = task.await;
        }
    }

    /// Listens again on the same address.
    ///
    /// # Errors
    /// When somebody else has taken the port.
    pub async fn restart(&mut self) -> io::Result<()> {
        self.stop().await;
        self.running = Some(spawn(TcpListener::bind(self.address).await?, &self.shared));
        Ok(())
    }
}

fn spawn(listener: TcpListener, shared: &Arc<Shared>) -> (oneshot::Sender<()>, JoinHandle<()>) {
    let (stop, stopped) = oneshot::channel();
    (stop, tokio::spawn(accept(listener, Arc::clone(shared), stopped)))
}

async fn accept(listener: TcpListener, shared: Arc<Shared>, mut stopped: oneshot::Receiver<()>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            // Also when the `Origin` was dropped.
            _ = &mut stopped => break,
            Some(_) = connections.join_next() => {}
            stream = next(&listener), if connections.len() < CONNECTIONS => {
                connections.spawn(connection::serve(stream, Arc::clone(&shared)));
            }
        }
    }
    drop(listener);
    connections.shutdown().await;
}

/// The next connection; out of descriptors, it waits for some to come back.
async fn next(listener: &TcpListener) -> TcpStream {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return stream,
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}
