//! The classic stories behind a 502, each with a real fault on real sockets, and what causeway answers: the README's
//! table, which this writes (`UPDATE=1`) or compares. What nginx says to the same is in [`nginx`].

mod nginx;

use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use causeway::config::ListenAddress;
use futures_util::{SinkExt, StreamExt};
use serde_json::Value;
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::Message;

use crate::support::full::{Full, full};
use crate::support::origin::{Behaviour, Origin};
use crate::support::proxy::Proxy;
use crate::support::raw::{Raw, Response};
use crate::support::{schema, source};

const BEGIN: &str = "<!-- UPDATE=1 cargo test stories -->\n";
const END: &str = "<!-- end of the stories -->\n";

/// What is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    AppDown,
    WrongPort,
    NoUpgrade,
    Slow,
    Cookies,
    LargeHead,
    Overloaded,
    NoRoute,
    Swallowed,
    Cut,
    Loop,
    Typo,
}

/// A fault, as people tell it, and what nginx 1.22 answers and logs.
struct Story {
    fault: Fault,
    told: &'static str,
    nginx: (&'static str, &'static str),
}

const STORIES: &[Story] = &[
    Story {
        fault: Fault::AppDown,
        told: "The app is down",
        nginx: ("502", "connect() failed (111: Connection refused) while connecting to upstream"),
    },
    Story {
        fault: Fault::WrongPort,
        told: "The port is wrong: the app listens next door",
        nginx: ("502", "connect() failed (111: Connection refused) while connecting to upstream"),
    },
    Story {
        fault: Fault::NoUpgrade,
        told: "A WebSocket app, and nobody has set Upgrade, Connection and Host",
        nginx: ("502", "upstream prematurely closed connection while reading response header from upstream"),
    },
    Story {
        fault: Fault::Slow,
        told: "The app takes longer than the timeout",
        nginx: ("504", "upstream timed out (110: Connection timed out) while reading response header from upstream"),
    },
    Story {
        fault: Fault::Cookies,
        told: "The response head is larger than the buffer: 20 KiB",
        nginx: ("502", "upstream sent too big header while reading response header from upstream"),
    },
    Story {
        fault: Fault::LargeHead,
        told: "The response head is larger than the buffer: 70 KiB",
        nginx: ("502", "upstream sent too big header while reading response header from upstream"),
    },
    Story {
        fault: Fault::Overloaded,
        told: "The app has as many requests as it may have",
        nginx: ("502", "no live upstreams while connecting to upstream"),
    },
    Story {
        fault: Fault::NoRoute,
        told: "The network: no way to that address",
        nginx: ("502", "(101: Network is unreachable) while connecting to upstream"),
    },
    Story {
        fault: Fault::Swallowed,
        told: "The network: packets vanish",
        nginx: ("504", "upstream timed out (110: Connection timed out) while connecting to upstream"),
    },
    Story {
        fault: Fault::Cut,
        told: "The network, or a crash: the connection is cut",
        nginx: ("502", "recv() failed (104: Connection reset by peer) while reading response header from upstream"),
    },
    Story {
        fault: Fault::Loop,
        told: "Misconfiguration: the upstream is the proxy itself",
        nginx: ("500", "worker_connections are not enough while connecting to upstream"),
    },
    Story {
        fault: Fault::Typo,
        told: "Misconfiguration: a typo",
        nginx: ("", "unknown directive \"proxy_read_timout\""),
    },
];

/// Somebody who plays the upstream's part, for as long as it is held.
struct Upstream {
    address: SocketAddr,
    origin: Option<Origin>,
    _full: Option<Full>,
}

impl Upstream {
    async fn with(fault: Fault) -> Self {
        let (mut origin, mut port) = (None, None);
        let mut plays = |one: Origin| origin.insert(one).address();
        let address = match fault {
            Fault::AppDown => Origin::nobody(),
            Fault::WrongPort => {
                let app = plays(Origin::start(Behaviour::Ok(b"ok".to_vec())).await);
                neighbour(app).await
            }
            Fault::NoUpgrade => web_socket_app().await,
            Fault::Slow | Fault::Overloaded => plays(Origin::start(Behaviour::Silent).await),
            Fault::Cookies => plays(Origin::start(Behaviour::HeadOf(20 << 10)).await),
            Fault::LargeHead => plays(Origin::start(Behaviour::HeadOf(70 << 10)).await),
            Fault::Cut => plays(Origin::start(Behaviour::ResetBeforeHead).await),
            // TCP connect refuses the broadcast address before a packet is sent.
            Fault::NoRoute => SocketAddr::from(([255, 255, 255, 255], 3000)),
            Fault::Swallowed => {
                let (address, held) = full().await;
                port = Some(held);
                address
            }
            Fault::Loop | Fault::Typo => Origin::free(),
        };
        Self { address, origin, _full: port }
    }
}

/// A port close by where nobody listens.
async fn neighbour(app: SocketAddr) -> SocketAddr {
    for port in (app.port() + 1..).take(50) {
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        if TcpStream::connect(address).await.is_err() {
            return address;
        }
    }
    panic!("no free port beside {app}");
}

/// Says hello on each WebSocket, with the Host that its handshake had; hangs up on anything else.
async fn web_socket_app() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let mut host = String::new();
            #[allow(clippy::result_large_err)] // the library's own shape
            let seen = |request: &http::Request<()>, answer| {
                host = request.headers()["host"].to_str().unwrap().to_owned();
                Ok(answer)
            };
            if let Ok(mut socket) = tokio_tungstenite::accept_hdr_async(stream, seen).await {
                let _ = socket.send(Message::text(host)).await;
            }
        }
    });
    address
}

/// What causeway answers, in one sentence.
async fn answer(fault: Fault) -> String {
    if fault == Fault::Typo {
        return checked();
    }
    let upstream = Upstream::with(fault).await;
    let more = match fault {
        Fault::Slow => "timeouts.read = \"1s\"",
        Fault::Swallowed => "timeouts.connect = \"1s\"",
        Fault::Overloaded => "limits.in_flight = 1",
        _ => "",
    };
    let text = format!(
        "[pool.app]\nupstreams = [\"{}\"]\nhealth.type = \"off\"\n{more}\n[errors]\ndetail = \"full\"\n",
        upstream.address
    );
    let itself = ListenAddress::Exact(vec![upstream.address]);
    let proxy = Proxy::changed_file(&text, |config| {
        if fault == Fault::Loop {
            config.listeners[0].address = itself.clone();
        }
    });
    match fault {
        Fault::NoUpgrade => return web_socket(&proxy).await,
        Fault::Cookies => return format!("**{}**: it passes; the limit is 64 KiB.", ask(&proxy).await.status),
        Fault::Overloaded => {
            let mut first = Raw::connect(proxy.address).await;
            first.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
            let origin = upstream.origin.as_ref().unwrap();
            origin.requests(1).await;
            return said(&ask(&proxy).await, fault, &upstream);
        }
        _ => {}
    }
    let mut answer = ask(&proxy).await;
    // A closer look takes place beside the request: what it finds is told from the next one on.
    for _ in 0..20 {
        if fault != Fault::WrongPort || answer.text().contains("Did you mean") {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
        answer = ask(&proxy).await;
    }
    said(&answer, fault, &upstream)
}

async fn ask(proxy: &Proxy) -> Response {
    Raw::connect(proxy.address).await.get("/").await
}

async fn web_socket(proxy: &Proxy) -> String {
    let stream = TcpStream::connect(proxy.address).await.unwrap();
    let (mut socket, answer) = tokio_tungstenite::client_async("ws://shop.example/chat", stream).await.unwrap();
    let host = socket.next().await.unwrap().unwrap().into_text().unwrap();
    let status = answer.status().as_u16();
    format!("**{status}**: it works, with nothing to configure; the app sees `Host: {host}`.")
}

/// Status, cause, hint and command of the annotated error.
fn said(answer: &Response, fault: Fault, upstream: &Upstream) -> String {
    let body: Value = serde_json::from_slice(&answer.body).unwrap_or_else(|e| panic!("{e}: {answer:?}"));
    schema::assert_error(&body);
    let row = &body["attempts"][0];
    let text = |row: &Value, key: &str| row[key].as_str().map(ToOwned::to_owned);
    let hint = text(row, "hint").or_else(|| text(&body, "hint")).or_else(|| text(&body, "detail")).unwrap();
    let next = text(row, "command").map(|command| format!(" Next: `{command}`")).unwrap_or_default();
    let told = format!("**{}** `{}`: {hint}{next}", answer.status, body["cause"].as_str().unwrap());
    // The port that is meant first: it is within no other one.
    let app = match (fault, &upstream.origin) {
        (Fault::WrongPort, Some(app)) => told.replace(&format!("{}", app.port()), "3000"),
        _ => told,
    };
    let shown = match fault {
        Fault::WrongPort => "127.0.0.1:3001",
        Fault::NoRoute => "192.0.2.7:3000",
        _ => "127.0.0.1:3000",
    };
    app.replace(&upstream.address.to_string(), shown)
        .replace(&upstream.address.port().to_string(), &shown[shown.len() - 4..])
}

/// What `causeway check` says of a typo.
fn checked() -> String {
    let folder = tempfile::TempDir::new().unwrap();
    std::fs::write(
        folder.path().join("causeway.toml"),
        "[pool.app]\nupstreams = [\"127.0.0.1:3000\"]\n[pool.app.timeouts]\nraed = \"5s\"\n",
    )
    .unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_causeway"))
        .args(["check", "causeway.toml"])
        .current_dir(folder.path())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(78), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap();
    let lines: Vec<_> = text.lines().collect();
    let hint = lines.iter().find(|line| line.contains('^')).unwrap().trim_start_matches([' ', '^']);
    format!("It does not start. `causeway check`: {}: {hint}", lines[0])
}

/// The table, as it stands in the README.
async fn table() -> String {
    let mut table = String::from("| the story | nginx | causeway |\n|---|---|---|\n");
    for story in STORIES {
        let (status, log) = story.nginx;
        let status = if status.is_empty() { String::new() } else { format!("{status}, and in its log: ") };
        let answer = answer(story.fault).await.replace('|', "\\|");
        table += &format!("| {} | {status}`{log}` | {answer} |\n", story.told);
    }
    table
}

/// Without the times, which differ from run to run.
fn timeless(table: &str) -> String {
    let words = table.split(' ').collect::<Vec<_>>();
    let is_time =
        |index: usize| words.get(index + 1).is_some_and(|next| next.starts_with("ms") || next.starts_with("s)"));
    let worded = words.iter().enumerate().map(|(index, word)| if is_time(index) { "N" } else { word });
    worded.collect::<Vec<_>>().join(" ")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_readme_tells_the_stories_as_they_are() {
    let table = table().await;
    source::kept("README.md", |readme| {
        let (before, rest) = readme.split_once(BEGIN).expect("the README has a place for the stories");
        let (told, after) = rest.split_once(END).expect("the README's stories have an end");
        // Times differ from run to run: they are no reason to write another table.
        let table = if timeless(told) == timeless(&table) { told } else { &table };
        format!("{before}{BEGIN}{table}{END}{after}")
    });
}
