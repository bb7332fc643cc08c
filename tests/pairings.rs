//! Every pairing of HTTP/1.1 and HTTP/2, with TLS and without, in and out, with every way that an exchange can go: over
//! real sockets, and each cell by its name.

use std::time::Duration;

use client::{Answer, Body, End, Reading, ask};
use rustls::pki_types::CertificateDer;
use tokio::io::{AsyncRead, AsyncWrite};
use upstream::{Speaks, Upstream, acceptor};

use crate::support::proxy::{Proxy, Seen};
use crate::support::tls_origin::{Authority, Pair};

mod alpn;
mod client;
mod upstream;

/// Long enough that only a fault reaches it.
const LONG: Duration = Duration::from_secs(10);

trait Io: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Io for T {}
type Wire = Box<dyn Io>;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Http {
    One,
    Two,
}

/// One side: its protocol, and whether in TLS.
type Side = (Http, bool);

const SIDES: [Side; 4] = [(Http::One, false), (Http::One, true), (Http::Two, false), (Http::Two, true)];

/// A proxy between one client and one upstream.
struct Pairing {
    from: Side,
    to: Side,
    /// Believed by the client.
    certificate: Option<CertificateDer<'static>>,
    proxy: Proxy,
    upstream: Upstream,
    done: usize,
}

impl Pairing {
    async fn new(from: Side, to: Side, authority: &Authority, pair: &Pair) -> Self {
        let speaks = match to {
            (Http::One, true) => Speaks::Tls(acceptor(pair, &["http/1.1"])),
            (Http::Two, true) => Speaks::Tls(acceptor(pair, &["h2", "http/1.1"])),
            (http, false) => Speaks::Plain(http),
        };
        let upstream = Upstream::start(speaks).await;
        let scheme = match to {
            (_, true) => "https",
            (Http::Two, false) => "h2c",
            (Http::One, false) => "http",
        };
        let mut config = format!(
            "errors.proxy_status = \"all\"\n[pool.app]\nupstreams = [\"{scheme}://{}\"]\nhealth.type = \"off\"\n",
            upstream.address
        );
        if to.1 {
            config += &format!("tls.ca = {:?}\n", authority.file());
        }
        if from.1 {
            let Pair { cert_file, key_file, .. } = pair;
            config +=
                &format!("[listener.main.tls]\ncertificates = [{{ cert = {cert_file:?}, key = {key_file:?} }}]\n");
        }
        let certificate = from.1.then(|| authority.certificate());
        Self { from, to, certificate, proxy: Proxy::start(&config), upstream, done: 0 }
    }

    async fn ask(&self, path: &str, body: Body) -> Reading {
        ask(self.proxy.address, self.from.0, self.certificate.as_ref(), path, body).await
    }

    /// What the record says of the exchange that has just ended.
    async fn record(&mut self) -> Seen {
        self.done += 1;
        self.proxy.exchange(self.done - 1).await
    }

    /// A request that is answered in full.
    async fn whole(&mut self, path: &str, body: Body) -> Result<Answer, String> {
        let answer = self.ask(path, body).await.rest().await?;
        let version = if self.to.0 == Http::Two { "HTTP/2.0" } else { "HTTP/1.1" };
        let seen = self.upstream.sees().await;
        wanted(seen.ends_with(version), || format!("the upstream sees {seen}"))?;
        wanted(answer.end == End::Whole, || format!("{answer:?}"))?;
        Ok(answer)
    }

    async fn get(&mut self) -> Result<(), String> {
        let answer = self.whole("/", Body::None).await?;
        let protocol = match self.to {
            (Http::One, _) => "http/1.1",
            (Http::Two, false) => "h2c",
            (Http::Two, true) => "h2",
        };
        let said = format!("next-protocol={protocol};");
        let quoted = format!("next-protocol=\\\"{protocol}\\\";");
        let named =
            [said, quoted, format!("next-protocol=\"{protocol}\";")].iter().any(|text| answer.head.contains(text));
        wanted(answer.status == 200 && answer.body == "ok" && named, || format!("{answer:?}"))?;
        let record = self.record().await;
        wanted(record.cause.is_none(), || format!("{record:?}"))
    }

    async fn trailers(&mut self) -> Result<(), String> {
        let answer = self.whole("/trail", Body::Trailing).await?;
        let right = answer.status == 200 && answer.body == "hello" && answer.trailers.contains("x-sum");
        wanted(right && answer.trailers.contains('7'), || format!("{answer:?}"))?;
        let record = self.record().await;
        wanted(record.cause.is_none(), || format!("{record:?}"))
    }

    async fn early(&mut self) -> Result<(), String> {
        let answer = self.whole("/early", Body::Unfinished).await?;
        wanted(answer.status == 413 && answer.body == "large", || format!("{answer:?}"))?;
        let record = self.record().await;
        wanted(record.status == 413, || format!("{record:?}"))
    }

    async fn cut(&mut self, path: &str) -> Result<(), String> {
        let mut reading = self.ask(path, Body::None).await;
        self.upstream.sees().await;
        reading.until("cut").await?;
        self.upstream.go.add_permits(1);
        let answer = reading.rest().await?;
        let seen = match self.from {
            (Http::Two, _) => answer.end == End::Reset,
            (Http::One, true) => answer.end == End::Broke,
            (Http::One, false) => matches!(answer.end, End::Broke | End::Closed),
        };
        wanted(seen && answer.status == 200, || format!("{answer:?}"))?;
        let record = self.record().await;
        wanted(record.cause.is_some_and(|cause| cause != "client_closed"), || format!("{record:?}"))
    }

    async fn abort(&mut self, path: &str) -> Result<(), String> {
        let mut reading = self.ask(path, if path == "/silent" { Body::Unfinished } else { Body::None }).await;
        self.upstream.sees().await;
        if path == "/hang" {
            reading.until("hey").await?;
        }
        drop(reading);
        let seen = self.upstream.sees().await;
        wanted(seen == format!("{path} ended"), || format!("the upstream sees {seen}"))?;
        let record = self.record().await;
        wanted(record.cause == Some("client_closed"), || format!("{record:?}"))
    }
}

fn wanted(right: bool, what: impl FnOnce() -> String) -> Result<(), String> {
    if right { Ok(()) } else { Err(what()) }
}

fn name((http, tls): Side) -> String {
    format!("{}{}", if http == Http::Two { "h2" } else { "h1" }, if tls { " TLS" } else { "" })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_pairing_carries_every_exchange() {
    let authority = Authority::new();
    let pair = authority.issue(&["127.0.0.1"], 2090);
    let mut wrong = Vec::new();
    for (from, to) in SIDES.into_iter().flat_map(|from| SIDES.map(|to| (from, to))) {
        let mut pairing = Pairing::new(from, to, &authority, &pair).await;
        for case in ["GET", "trailers", "early answer", "cut", "cut of no length", "abort", "abort before the head"] {
            let result = match case {
                "GET" => pairing.get().await,
                "trailers" => pairing.trailers().await,
                "early answer" => pairing.early().await,
                "cut" => pairing.cut("/cut").await,
                "cut of no length" => pairing.cut("/cut-unknown").await,
                "abort" => pairing.abort("/hang").await,
                _ => pairing.abort("/silent").await,
            };
            if let Err(why) = result {
                wrong.push(format!("{} -> {}: {case}: {why}", name(from), name(to)));
                // What it left behind is nothing for the next one.
                pairing = Pairing::new(from, to, &authority, &pair).await;
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
