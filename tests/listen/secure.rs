//! TLS on a listener: each promise of the other files is kept over it too, and those of its own.

use std::cell::Cell;
use std::io::ErrorKind;
use std::num::NonZeroUsize;
use std::sync::OnceLock;

use rustls::pki_types::ServerName;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, HandshakeKind};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::*;
use crate::support::certificates::{self, Authority, Issued};

thread_local!(static OVER_TLS: Cell<bool> = const { Cell::new(false) });

/// Does the test that runs on this thread speak TLS?
pub(super) fn now() -> bool {
    OVER_TLS.get()
}

struct World {
    authority: Authority,
    /// `first.test`.
    first: Issued,
    /// `second.test`, `*.second.test`.
    second: Issued,
}

fn world() -> &'static World {
    static WORLD: OnceLock<World> = OnceLock::new();
    WORLD.get_or_init(|| {
        let authority = Authority::new();
        let first = authority.issue(&["first.test"], 2030);
        let second = authority.issue(&["second.test", "*.second.test"], 2030);
        World { authority, first, second }
    })
}

/// The listener as it is, or with TLS where the test that runs speaks it.
pub(super) fn or_plain(listener: Listener) -> Listener {
    if now() && listener.tls.is_none() { secure(listener) } else { listener }
}

pub(super) fn secure(listener: Listener) -> Listener {
    let World { first, second, .. } = world();
    Listener { tls: Some(Arc::new(certificates::of(&[first, second]))), ..listener }
}

/// The connection as it is, or after a handshake where the test that runs speaks TLS.
pub(super) async fn over(stream: TcpStream) -> Socket {
    if now() { shake(stream, client(), "first.test").await.unwrap() } else { Socket::Plain(stream) }
}

/// The connection after a handshake.
pub(super) async fn shaken_over(stream: TcpStream) -> Socket {
    shake(stream, client(), "first.test").await.unwrap()
}

/// One for all, so that sessions are resumed among the cases too.
fn client() -> Arc<ClientConfig> {
    static CLIENT: OnceLock<Arc<ClientConfig>> = OnceLock::new();
    Arc::clone(CLIENT.get_or_init(|| world().authority.client(&[&TLS13, &TLS12], &["http/1.1"], None)))
}

async fn shake(stream: TcpStream, config: Arc<ClientConfig>, host: &'static str) -> io::Result<Socket> {
    let name = ServerName::try_from(host).unwrap();
    let shaken = timeout(LONG, TlsConnector::from(config).connect(name, stream)).await.unwrap()?;
    Ok(Socket::Tls(Box::new(shaken)))
}

/// What a client speaks by.
pub(super) enum Socket {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Socket {
    pub(super) fn tcp(&self) -> &TcpStream {
        match self {
            Self::Plain(stream) => stream,
            Self::Tls(tls) => tls.get_ref().0,
        }
    }

    fn tls(&self) -> &rustls::ClientConnection {
        let Self::Tls(tls) = self else { panic!("plain") };
        tls.get_ref().1
    }

    /// Writes without letting anybody else run.
    pub(super) async fn write_at_once(&mut self, bytes: &[u8]) {
        let written = poll_fn(|cx| Poll::Ready(Pin::new(&mut *self).poll_write(cx, bytes))).await;
        assert!(matches!(written, Poll::Ready(Ok(n)) if n == bytes.len()));
    }
}

impl AsyncRead for Socket {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Tls(tls) => Pin::new(tls).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut *self {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Tls(tls) => Pin::new(tls).poll_write(cx, bytes),
        }
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(tls) => Pin::new(tls).poll_flush(cx),
        }
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(tls) => Pin::new(tls).poll_shutdown(cx),
        }
    }
}

/// Tests of the other files, once more, over TLS.
macro_rules! also_over_tls {
    ($($file:ident: $($case:ident)*;)*) => {
        mod also { $(mod $file { $(
            #[test]
            fn $case() {
                super::super::OVER_TLS.set(true);
                super::super::super::$file::$case();
            }
        )* })* }
    };
}

also_over_tls! {
    closing:
        pipelined_requests_are_answered_in_order
        the_keep_alive_clock_runs_from_the_last_answer
        the_head_clock_runs_on_kept_connections_too
        http10_is_closed_unless_it_asks_to_be_kept
        continue_is_sent_when_the_body_is_polled_and_not_before
        a_final_answer_in_place_of_continue_closes
        an_early_answer_survives_a_large_upload
        what_comes_with_the_last_answer_does_not_reset_it_away
        a_close_of_our_own_lingers
        an_answer_in_place_of_an_upgrade_is_whole
        a_broken_answer_is_never_a_whole_one
        a_silent_body_gets_408
        broken_chunks_get_400
        behind_trailers_comes_the_next_request;
    ending:
        the_handler_is_dropped_when_the_client_leaves
        a_client_that_takes_nothing_of_its_answer_is_cut
        a_slow_client_is_waited_for
        in_a_drain_idle_connections_end_after_a_second
        in_a_drain_half_a_head_is_finished
        the_cut_drops_what_remains;
    heads:
        broken_heads_get_a_full_answer
        heads_that_are_too_large_name_their_limit
        a_large_head_within_the_limit_is_served
        half_a_head_gets_408_and_silence_gets_nothing
        a_refusal_comes_after_the_answers_before_it;
    hibernation:
        a_quiet_connection_sleeps_and_wakes_as_often_as_it_likes
        half_read_heads_survive_whole
        pipelined_bytes_wake_it_and_are_served_in_order
        an_empty_line_behind_a_request_is_nothing
        an_answer_that_nobody_takes_yet_is_not_lost
        while_a_request_is_answered_nothing_sleeps
        the_keep_alive_clock_runs_on_in_sleep_and_from_the_last_answer
        the_head_clock_runs_in_sleep_and_after_it
        a_drain_wakes_nobody_for_nothing_and_serves_who_asks
        the_cut_ends_sleepers
        a_sleeper_whose_client_leaves_is_gone
        a_tunnel_never_sleeps;
}

/// A client of this server, after its handshake.
async fn shaken(server: &Server, config: &Arc<ClientConfig>, host: &'static str) -> io::Result<Client> {
    let stream = TcpStream::connect(server.address).await.unwrap();
    shake(stream, Arc::clone(config), host).await.map(Client)
}

/// Which of the two certificates a client was shown.
fn shown(client: &Client) -> &'static str {
    let leaf = &client.0.tls().peer_certificates().unwrap()[0];
    let pem = |issued: &Issued| issued.cert.replace(['\r', '\n'], "");
    let der = |issued: &Issued| {
        use rustls::pki_types::pem::PemObject as _;
        rustls::pki_types::CertificateDer::from_pem_slice(issued.cert.as_bytes()).unwrap()
    };
    let World { first, second, .. } = world();
    assert_ne!(pem(first), pem(second));
    if *leaf == der(first) { "first" } else { "second" }
}

/// A client that takes any name, so that it can be shown the wrong one.
fn careless(config: &Arc<ClientConfig>) -> Arc<ClientConfig> {
    use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
    use rustls::pki_types::{CertificateDer, UnixTime};
    #[derive(Debug)]
    struct Anybody;
    impl ServerCertVerifier for Anybody {
        fn verify_server_cert(
            &self,
            _: &CertificateDer<'_>,
            _: &[CertificateDer<'_>],
            _: &ServerName<'_>,
            _: &[u8],
            _: UnixTime,
        ) -> Result<ServerCertVerified, rustls::Error> {
            Ok(ServerCertVerified::assertion())
        }
        fn verify_tls12_signature(
            &self,
            _: &[u8],
            _: &CertificateDer<'_>,
            _: &rustls::DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, rustls::Error> {
            Ok(HandshakeSignatureValid::assertion())
        }
        fn verify_tls13_signature(
            &self,
            _: &[u8],
            _: &CertificateDer<'_>,
            _: &rustls::DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, rustls::Error> {
            Ok(HandshakeSignatureValid::assertion())
        }
        fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
            vec![rustls::SignatureScheme::ECDSA_NISTP256_SHA256]
        }
    }
    let mut config = ClientConfig::clone(config);
    config.dangerous().set_certificate_verifier(Arc::new(Anybody));
    Arc::new(config)
}

#[tokio::test]
async fn the_host_chooses_the_certificate() {
    let server = start(secure(listener())).await;
    let config = world().authority.client(&[&TLS13], &[], None);
    for (host, wanted) in [
        ("first.test", "first"),
        ("second.test", "second"),
        ("a.second.test", "second"),
        ("A.Second.Test", "second"),
        ("a.b.second.test", "first"),
        ("other.test", "first"),
        ("127.0.0.1", "first"),
    ] {
        let careless = careless(&config);
        let client = shaken(&server, &careless, host).await.unwrap();
        assert_eq!(shown(&client), wanted, "{host}");
        let honest = shaken(&server, &config, host).await;
        assert_eq!(
            honest.is_ok(),
            host.to_ascii_lowercase().ends_with(&format!("{wanted}.test")) && host != "a.b.second.test"
        );
    }
}

#[tokio::test]
async fn versions_protocols_and_sessions() {
    let server = start(secure(listener())).await;
    for version in [&TLS12, &TLS13] {
        let config = world().authority.client(&[version], &["h9", "http/1.1"], None);
        for kind in [HandshakeKind::Full, HandshakeKind::Resumed] {
            let mut client = shaken(&server, &config, "first.test").await.unwrap();
            client.send("GET / HTTP/1.1\r\nconnection: close\r\n\r\n").await;
            assert!(client.whole().await.ends_with("\r\n\r\nok"));
            let tls = client.0.tls();
            assert_eq!(tls.alpn_protocol(), Some(&b"http/1.1"[..]));
            assert_eq!(tls.protocol_version(), Some(version.version));
            let shaken = tls.handshake_kind().unwrap();
            // TLS 1.3 may ask for another share of a key first, which is a full one too.
            let full = matches!(shaken, HandshakeKind::Full | HandshakeKind::FullWithHelloRetryRequest);
            assert_eq!(full, kind == HandshakeKind::Full, "{shaken:?}");
        }
    }
    // Who insists on another protocol is told so in the handshake.
    let stranger = world().authority.client(&[&TLS13], &["h9"], None);
    let error = shaken(&server, &stranger, "first.test").await.err().unwrap();
    assert!(error.to_string().contains("NoApplicationProtocol"), "{error}");
}

#[tokio::test]
async fn plain_http_is_answered_and_told_what_to_write() {
    let server = start(secure(listener())).await;
    for (request, raw) in [("GET / HTTP/1.1\r\nhost: a\r\n\r\n", 27), ("POST /x HTTP/1.0\r\n\r\nbody", 24)] {
        let mut client = Client(Socket::Plain(TcpStream::connect(server.address).await.unwrap()));
        client.send(request).await;
        let text = client.whole().await;
        assert!(text.starts_with("HTTP/1.1 400 Refused\r\n"), "{text}");
        assert!(
            text.contains("client_invalid: plain HTTP came to a TLS port, where addresses begin with https://"),
            "{text}"
        );
        assert!(text.ends_with(&format!("({raw} raw)")), "{text}");
    }
}

#[tokio::test]
async fn the_handshake_has_a_clock_and_a_place() {
    let listener = Listener { tls_timeout: 2 * SHORT, connections_limit: NonZeroUsize::new(1), ..listener() };
    let server = start(secure(listener)).await;
    // The first bytes of a record that never comes; half a request in plain HTTP; and what is neither.
    for (bytes, answer) in [
        (&b"\x16\x03\x01\x02\x00\x01"[..], ""),
        (b"GET / HTTP/1.1\r\nho", "HTTP/1.1 400 "),
        (b"\x00\x01\x02\x03\x04\x05\x06\x07", "\u{15}"),
    ] {
        let mut client = Client(Socket::Plain(TcpStream::connect(server.address).await.unwrap()));
        client.send(bytes).await;
        let mut all = Vec::new();
        timeout(LONG, client.0.read_to_end(&mut all)).await.unwrap().unwrap();
        assert!(all.starts_with(answer.as_bytes()) && all.is_empty() == answer.is_empty(), "{all:?}");
    }
    // Its place is free again.
    let mut client = shaken(&server, &client(), "first.test").await.unwrap();
    client.send("GET / HTTP/1.1\r\n\r\n").await;
    client.until("\r\n\r\nok").await;
}

#[tokio::test]
async fn a_tunnel_carries_both_ends() {
    let mut server = start(secure(listener())).await;
    let mut client = shaken(&server, &client(), "first.test").await.unwrap();
    client.send("GET /upgrade HTTP/1.1\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\nbehind").await;
    client.until("behind").await;
    client.send("more").await;
    client.until("more").await;
    // Our side ends, with a close_notify and a FIN; theirs follows, and is as clean.
    client.0.shutdown().await.unwrap();
    assert_eq!(client.whole().await, "");
    assert_eq!(server.logged().await, "called /upgrade");
    assert_eq!(server.logged().await, "tunnel ended");
}

#[tokio::test]
async fn large_bodies_go_both_ways() {
    let server = start(secure(listener())).await;
    let mut client = shaken(&server, &client(), "first.test").await.unwrap();
    let body = vec![b'y'; 20_000_000];
    client.send(format!("POST /echo HTTP/1.1\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", body.len())).await;
    client.send(&body).await;
    let text = client.whole().await;
    assert_eq!(text.split_once("\r\n\r\n").unwrap().1.matches('y').count(), body.len());
}

/// What does not arrive is not kept for ever, however short it is: TLS takes it, and the socket does not
/// from TLS.
#[tokio::test]
async fn a_client_that_takes_nothing_is_cut_also_when_all_is_written() {
    let mut server = start(secure(Listener { body_timeout: 2 * SHORT, ..listener() })).await;
    let mut client = shaken(&server, &client(), "first.test").await.unwrap();
    // Answers until the kernel takes no more, and not one byte is read.
    let asks = "GET /echo-nothing HTTP/1.1\r\n\r\n".repeat(100);
    let filled = async {
        while server.drain.connections() > 0 {
            if timeout(SHORT, client.0.write_all(asks.as_bytes())).await.is_ok_and(|written| written.is_err()) {
                break;
            }
        }
        while server.drain.connections() > 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(2 * LONG, filled).await.expect("an end of the connection");
    assert!(server.logged().await.starts_with("called /echo-nothing"));
}

#[tokio::test]
async fn in_a_drain_a_handshake_is_finished_and_the_cut_drops_it() {
    let server = start(secure(listener())).await;
    let mut client = shaken(&server, &client(), "first.test").await.unwrap();
    let mut half = TcpStream::connect(server.address).await.unwrap();
    half.write_all(b"\x16\x03\x01").await.unwrap();
    while server.drain.connections() < 2 {
        tokio::task::yield_now().await;
    }
    server.drain.begin();
    client.send("GET / HTTP/1.1\r\n\r\n").await;
    let text = client.whole().await;
    assert!(text.contains("connection: close\r\n") && text.ends_with("ok"), "{text}");
    drop(client);
    server.drain.cut();
    timeout(LONG, server.drain.ended()).await.unwrap();
    let error = half.read_u8().await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset), "{error}");
}
