//! TLS to an upstream: what is believed, what is kept, and the name of each failure.

use causeway::config::Address;
use causeway::config::Endpoint;
use http::Request;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;
use crate::support::tls_origin::{Authority, Pair, TlsOrigin, settings};

impl Bench {
    fn secure(address: std::net::SocketAddr, lines: &str) -> Self {
        let address = Address::parse(&format!("https://{address}")).unwrap();
        let endpoint = Endpoint::literal(&address).unwrap().with_tls(Some(settings(lines)));
        Self { endpoint: Arc::new(endpoint), ..Self::to(Dial::Unresolved(None)) }
    }
}

fn trusting(authority: &Authority) -> String {
    format!("ca = {:?}\n", authority.file())
}

fn showing(pair: &Pair) -> String {
    format!("cert = {:?}\nkey = {:?}\n", pair.cert_file, pair.key_file)
}

const HERE: &[&str] = &["127.0.0.1", "app.test"];

#[tokio::test]
async fn a_connection_is_kept_and_a_session_resumed() {
    let authority = Authority::new();
    let origin = TlsOrigin::start(authority.issue(HERE, 2090)).await;
    let mut bench = Bench::secure(origin.address, &trusting(&authority));
    assert_eq!(bench.text().await, "ok");
    let session = bench.progress.session().unwrap();
    assert_eq!((session.version, session.verified), ("TLS 1.3", true));
    assert_eq!(session.certificate().unwrap().names, ["127.0.0.1", "app.test"]);
    assert_eq!(bench.text().await, "ok");
    assert!(bench.progress.reused() && bench.progress.session().is_none());
    bench.replayable = false;
    assert_eq!(bench.text().await, "ok");
    bench.fresh = true;
    assert_eq!(bench.text().await, "ok");
    assert_eq!(origin.handshakes(), [false, true], "a second connection, and no second full handshake");
}

#[tokio::test]
async fn each_fault_of_a_certificate_has_its_name() {
    let (authority, other) = (Authority::new(), Authority::new());
    let own = authority.self_signed(HERE);
    let pinned = format!("ca = {:?}\n", own.cert_file);
    let trusts = trusting(&authority);
    for (pair, lines, wanted) in [
        (
            authority.issue(&["other.test", "127.0.0.9"], 2090),
            &trusts,
            Some((Cause::TlsCertName, "other.test, 127.0.0.9")),
        ),
        (authority.issue(HERE, 2021), &trusts, Some((Cause::TlsCertExpired, "was valid until 2021-01-02"))),
        (other.issue(HERE, 2090), &trusts, Some((Cause::TlsCertUntrusted, "CN=A Test CA"))),
        (authority.self_signed(HERE), &trusts, Some((Cause::TlsCertUntrusted, "self-signed"))),
        (own, &pinned, None),
        (authority.issue(HERE, 2090), &format!("{trusts}server_name = \"app.test\""), None),
        (
            authority.issue(HERE, 2090),
            &format!("{trusts}server_name = \"b.test\""),
            Some((Cause::TlsCertName, "b.test was asked")),
        ),
        (other.issue(HERE, 2021), &"verify = false".to_owned(), None),
        (other.issue(HERE, 2090), &String::new(), Some((Cause::TlsCertUntrusted, "CN=A Test CA"))),
    ] {
        let origin = TlsOrigin::start(pair).await;
        let mut bench = Bench::secure(origin.address, lines);
        match wanted {
            None => assert_eq!(bench.text().await, "ok"),
            Some((cause, said)) => {
                let failure = bench.failure(get()).await;
                assert_eq!((failure.cause, failure.phase, failure.sent), (cause, Phase::Tls, false), "{failure}");
                assert!(failure.seen.as_ref().is_some_and(|seen| seen.contains(said)), "{said}: {failure}");
            }
        }
    }
}

#[tokio::test]
async fn a_client_certificate_is_shown_and_its_want_is_named() {
    let authority = Authority::new();
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let origin = TlsOrigin::with(authority.issue(HERE, 2090), Some(&authority), &[version]).await;
        let own = authority.issue(&["causeway"], 2090);
        let mut bench = Bench::secure(origin.address, &format!("{}{}", trusting(&authority), showing(&own)));
        assert_eq!(bench.text().await, "ok");
        let mut bench = Bench::secure(origin.address, &trusting(&authority));
        let failure = bench.failure(get()).await;
        assert_eq!((failure.cause, failure.phase), (Cause::TlsAlert, Phase::Tls), "{version:?}: {failure}");
        assert!(failure.hint("https://app:1").contains("tls.cert"), "{}", failure.hint("https://app:1"));
    }
}

/// One who says these bytes to whoever greets him, then waits for the end.
async fn says(bytes: &'static [u8]) -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut hello = [0; 16384];
            let _ = stream.read(&mut hello).await;
            if bytes == b"silence" {
                while stream.read(&mut hello).await.is_ok_and(|read| read > 0) {}
            }
            let _ = stream.write_all(bytes).await;
        }
    });
    address
}

#[tokio::test]
async fn who_does_not_speak_tls_is_told_by_what_he_says() {
    for (bytes, cause, seen) in [
        (
            &b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"[..],
            Cause::SpeaksPlaintext,
            Some("HTTP/1.1 400 Bad Request"),
        ),
        (b"SSH-2.0-OpenSSH\r\n", Cause::SpeaksPlaintext, Some("SSH-2.0-OpenSSH")),
        (b"\0\0\x12\x04\0\0\0\0\0", Cause::SpeaksPlaintext, Some("\\x00\\x00\\x12\\x04\\x00\\x00\\x00\\x00\\x00")),
        (b"\x15\x03\x03\x00\x02\x02\x70", Cause::TlsAlert, Some("unrecognized_name (112)")),
        (b"\x15\x03\x03\x00\x02\x02\x46", Cause::TlsAlert, Some("protocol_version (70)")),
        (b"", Cause::TlsFailure, None),
        (b"silence", Cause::TlsTimeout, None),
    ] {
        let mut bench = Bench::secure(says(bytes).await, "");
        bench.timeouts.tls = 100 * MS;
        let failure = bench.failure(get()).await;
        assert_eq!((failure.cause, failure.phase, failure.sent), (cause, Phase::Tls, false), "{failure}");
        if seen.is_some() {
            assert_eq!(failure.seen.as_deref(), seen, "{failure}");
        }
    }
}

#[tokio::test]
async fn a_body_that_ends_without_a_goodbye_is_cut() {
    let authority = Authority::new();
    let origin = TlsOrigin::start(authority.issue(HERE, 2090)).await;
    let mut bench = Bench::secure(origin.address, &trusting(&authority));
    let response = bench.send(Request::get("/cut").body(full("")).unwrap()).await.unwrap();
    assert_eq!(body_failure(response).await.cause, Cause::TruncatedBody);
}
