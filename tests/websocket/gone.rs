//! Who is gone is missed, be it that the other side takes nothing; and the record says who it was, with every byte.

use futures_util::future::join_all;
use tokio::task::JoinHandle;

use super::*;

const CLIENTS: [Speaks; 4] = [Speaks::H1, Speaks::H1Tls, Speaks::H2, Speaks::H2Tls];
const APPS: [Speaks; 3] = [Speaks::H1, Speaks::H1Tls, Speaks::H2];

/// One end of a tunnel, by hand.
struct Hand {
    io: Box<dyn Io>,
    /// Drives its connection, in HTTP/2.
    running: Option<JoinHandle<()>>,
}

impl Hand {
    /// As if its process had died.
    fn killed(self) {
        if let Some(running) = self.running {
            running.abort();
        }
    }
}

/// What a handshake is answered with, and what for.
const ASKED: &str = "GET /chat?room=1 HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
     Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

async fn head(io: &mut Box<dyn Io>) -> String {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        head.push(char::from(io.read_u8().await.unwrap()));
    }
    head
}

/// An app that agrees to one WebSocket. `hard`: a close of its is a reset.
async fn agree(stream: TcpStream, speaks: Speaks, acceptor: TlsAcceptor, hard: bool) -> Hand {
    if hard {
        stream.set_zero_linger().unwrap();
    }
    let mut io: Box<dyn Io> = match speaks {
        Speaks::H1Tls => Box::new(acceptor.accept(stream).await.unwrap()),
        Speaks::H2 => {
            let builder = h2::server::Builder::new().enable_connect_protocol().clone();
            let mut connection = builder.handshake::<_, Bytes>(stream).await.unwrap();
            let (request, mut respond) = connection.accept().await.unwrap().unwrap();
            let send = respond.send_response(Response::new(()), false).unwrap();
            let running = tokio::spawn(async move { while connection.accept().await.is_some() {} });
            return Hand { io: Box::new(Duplex::new(request.into_body(), send)), running: Some(running) };
        }
        _ => Box::new(stream),
    };
    let head = head(&mut io).await;
    let key = head.lines().find_map(|line| line.strip_prefix("sec-websocket-key: ")).unwrap();
    let proof = handshake::accept(&key.parse().unwrap());
    let answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {}\r\n\r\n",
        proof.to_str().unwrap()
    );
    io.write_all(answer.as_bytes()).await.unwrap();
    io.flush().await.unwrap();
    Hand { io, running: None }
}

async fn ask(files: &Files, proxy: &Proxy, speaks: Speaks, hard: bool) -> Hand {
    let stream = TcpStream::connect(proxy.address).await.unwrap();
    if hard {
        stream.set_zero_linger().unwrap();
    }
    let mut io = files.over(stream, speaks).await;
    if matches!(speaks, Speaks::H2 | Speaks::H2Tls) {
        let (send, running) = client_h2(io).await;
        let (_, recv, stream) = tunnel(&send, 200).await;
        return Hand { io: Box::new(Duplex::new(recv, stream)), running: Some(running) };
    }
    io.write_all(ASKED.as_bytes()).await.unwrap();
    let head = head(&mut io).await;
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    Hand { io, running: None }
}

/// A tunnel: proxy, app, client.
async fn stands(files: &Files, pair: (Speaks, Speaks), hard: bool, more: &str) -> (Proxy, Hand, Hand) {
    let (client, app) = pair;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let scheme = match app {
        Speaks::H2 => "h2c",
        Speaks::H1Tls => "https",
        _ => "http",
    };
    let proxy = files.proxy(client, &format!("{scheme}://{}", listener.local_addr().unwrap()), more);
    let agreeing = async { agree(listener.accept().await.unwrap().0, app, files.acceptor(), hard).await };
    let both = async { tokio::join!(agreeing, ask(files, &proxy, client, hard)) };
    let (app, client) = timeout(LONG, both).await.unwrap();
    (proxy, app, client)
}

fn pairs() -> impl Iterator<Item = (Speaks, Speaks)> {
    CLIENTS.into_iter().flat_map(|client| APPS.into_iter().map(move |app| (client, app)))
}

/// Writes until nobody takes any more; how much that was.
async fn flood(io: &mut Box<dyn Io>) -> usize {
    let piece = vec![b'x'; 64 << 10];
    let mut sent = 0;
    while let Ok(written) = timeout(Duration::from_millis(400), io.write(&piece)).await {
        sent += written.unwrap();
        assert!(sent < 64 << 20, "it takes everything");
    }
    sent
}

/// Well under every limit there is.
const SOON: Duration = Duration::from_secs(8);

#[tokio::test]
async fn a_client_that_is_gone_is_missed_while_the_app_does_not_read() {
    let files = Files::new();
    join_all(pairs().map(async |pair| {
        let (proxy, app, mut client) = stands(&files, pair, true, "").await;
        flood(&mut client.io).await;
        client.killed();
        let seen = timeout(SOON, proxy.exchange(0)).await.unwrap_or_else(|_| panic!("{pair:?}: it lives on"));
        assert_eq!((seen.cause, seen.ended_by), (Some("client_closed"), EndedBy::Client), "{pair:?}");
        drop(app);
    }))
    .await;
}

#[tokio::test]
async fn a_stream_that_is_reset_is_missed_while_the_app_does_not_read() {
    let files = Files::new();
    join_all(pairs().filter(|(client, _)| matches!(client, Speaks::H2 | Speaks::H2Tls)).map(async |pair| {
        let (proxy, app, mut client) = stands(&files, pair, false, "").await;
        flood(&mut client.io).await;
        drop(client.io);
        let seen = timeout(SOON, proxy.exchange(0)).await.unwrap_or_else(|_| panic!("{pair:?}: it lives on"));
        assert_eq!((seen.cause, seen.ended_by), (Some("client_closed"), EndedBy::Client), "{pair:?}");
        drop(app);
    }))
    .await;
}

#[tokio::test]
async fn an_app_that_is_gone_is_missed_while_the_client_does_not_read() {
    let files = Files::new();
    join_all(pairs().map(async |pair| {
        let (proxy, mut app, client) = stands(&files, pair, true, "").await;
        flood(&mut app.io).await;
        app.killed();
        let seen = timeout(SOON, proxy.exchange(0)).await.unwrap_or_else(|_| panic!("{pair:?}: it lives on"));
        assert_eq!((seen.cause, seen.ended_by), (Some("truncated_body"), EndedBy::Upstream), "{pair:?}");
        drop(client);
    }))
    .await;
}

/// It may be half of a close: what was said before it still reaches an app that takes its time.
#[tokio::test]
async fn an_end_cuts_nothing_that_the_app_has_not_read_yet() {
    let files = Files::new();
    join_all(pairs().map(async |pair| {
        let (proxy, mut app, mut client) = stands(&files, pair, false, "").await;
        let sent = flood(&mut client.io).await;
        let telling = tokio::spawn(async move {
            client.io.shutdown().await.unwrap();
            client
        });
        tokio::time::sleep(Duration::from_millis(2500)).await; // more than two looks
        assert!(proxy.exchanges().is_empty(), "{pair:?}");
        assert_eq!(rest(&mut app.io).await.unwrap().len(), sent, "{pair:?}");
        let mut client = telling.await.unwrap();
        app.io.write_all(b"and mine").await.unwrap();
        app.io.shutdown().await.unwrap();
        assert_eq!(rest(&mut client.io).await.unwrap(), "and mine", "{pair:?}");
        let seen = proxy.exchange(0).await;
        assert_eq!((seen.cause, seen.ended_by), (None, EndedBy::Client), "{pair:?}");
        assert_eq!((seen.bytes_in, seen.bytes_out), (sent as u64, 8), "{pair:?}");
    }))
    .await;
}

/// It has said its last and hears nothing: then it dies, and nobody writes to it.
#[tokio::test]
async fn a_client_that_dies_after_its_end_is_missed_too() {
    let files = Files::new();
    join_all(pairs().filter(|(client, _)| matches!(client, Speaks::H1 | Speaks::H2)).map(async |pair| {
        let (proxy, mut app, mut client) = stands(&files, pair, true, "").await;
        client.io.shutdown().await.unwrap();
        assert_eq!(rest(&mut app.io).await.unwrap(), "", "{pair:?}");
        match client.running {
            Some(_) => client.killed(),
            None => drop(client.io),
        }
        let seen = timeout(SOON, proxy.exchange(0)).await.unwrap_or_else(|_| panic!("{pair:?}: it lives on"));
        assert_eq!(seen.ended_by, EndedBy::Client, "{pair:?}");
    }))
    .await;
}

/// How a tunnel comes to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    /// Its process dies with bytes unread, or its machine does: a reset, the end of a connection of HTTP/2.
    ClientKilled,
    /// Its process dies, all read: a close. The app closes in turn.
    ClientCloses,
    /// The same, and the app dies of it.
    ClientClosesAppKilled,
    AppKilled,
    AppCloses,
    AppClosesClientKilled,
    Cut,
    Silence,
}

#[tokio::test]
async fn the_record_says_who_ended_it() {
    const CASES: [(By, EndedBy, Option<&str>); 8] = [
        (By::ClientKilled, EndedBy::Client, Some("client_closed")),
        (By::ClientCloses, EndedBy::Client, None),
        (By::ClientClosesAppKilled, EndedBy::Client, None),
        (By::AppKilled, EndedBy::Upstream, Some("truncated_body")),
        (By::AppCloses, EndedBy::Upstream, None),
        (By::AppClosesClientKilled, EndedBy::Upstream, None),
        (By::Cut, EndedBy::Proxy, Some("shutting_down")),
        (By::Silence, EndedBy::Proxy, Some("body_timeout")),
    ];
    let files = Files::new();
    for (by, ended_by, cause) in CASES {
        join_all(pairs().map(async |pair| {
            let what = format!("{by:?}, {pair:?}");
            let hard =
                matches!(by, By::ClientKilled | By::AppKilled | By::ClientClosesAppKilled | By::AppClosesClientKilled);
            let more = if by == By::Silence { "timeouts.tunnel = \"400ms\"\n" } else { "" };
            let (proxy, mut app, mut client) = stands(&files, pair, hard, more).await;
            client.io.write_all(b"0123456789").await.unwrap();
            client.io.flush().await.unwrap();
            let mut heard = [0; 10];
            timeout(LONG, app.io.read_exact(&mut heard)).await.unwrap().unwrap();
            app.io.write_all(b"01234567").await.unwrap();
            app.io.flush().await.unwrap();
            timeout(LONG, client.io.read_exact(&mut heard[..8])).await.unwrap().unwrap();
            match by {
                By::ClientKilled => client.killed(),
                By::AppKilled => app.killed(),
                By::ClientCloses | By::ClientClosesAppKilled => {
                    client.io.shutdown().await.unwrap();
                    rest(&mut app.io).await.unwrap();
                    match by {
                        By::ClientCloses => app.io.shutdown().await.unwrap(),
                        _ => app.killed(),
                    }
                    let _ = rest(&mut client.io).await;
                }
                By::AppCloses | By::AppClosesClientKilled => {
                    app.io.shutdown().await.unwrap();
                    rest(&mut client.io).await.unwrap();
                    match by {
                        By::AppCloses => client.io.shutdown().await.unwrap(),
                        _ => client.killed(),
                    }
                    let _ = rest(&mut app.io).await;
                }
                By::Cut => drop(proxy.server().drain("a test").await),
                By::Silence => {}
            }
            let seen = timeout(SOON, proxy.exchange(0)).await.unwrap_or_else(|_| panic!("{what}: it lives on"));
            assert_eq!((seen.ended_by, seen.cause, seen.status), (ended_by, cause, 101), "{what}");
            assert_eq!((seen.bytes_in, seen.bytes_out), (10, 8), "{what}");
        }))
        .await;
    }
}
