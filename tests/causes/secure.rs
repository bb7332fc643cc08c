//! TLS that does not come about, and sockets that cannot be opened: through the whole proxy, and by its checks.

use std::process::Command;
use std::sync::Arc;

use causeway::config::Endpoint;
use causeway::config::model::{Check, HttpCheck};
use causeway::probe;
use http::{HeaderMap, Method};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UnixListener};

use super::*;
use crate::pools::quick;
use crate::support::origin::{Behaviour, Origin};
use crate::support::tls_origin::{Authority, TlsOrigin};

fn get(accept: &str) -> String {
    format!("GET {PATH} HTTP/1.1\r\nHost: a\r\nAccept: {accept}\r\n\r\n")
}

/// Traffic meets this cause in all forms, full and public; and a check of the same pool meets the same.
async fn meets(cause: Cause, upstream: &str, lines: &str, more: &str) {
    let wanted = Wanted { cause, status: cause.row().status, attempt: Some((cause.row().phase, false)) };
    let pool = format!("[pool.app]\nupstreams = [\"{upstream}\"]\nhealth.type = \"off\"\n{lines}");
    for (full, detail) in [(true, "full"), (false, "public")] {
        let proxy = Proxy::start(&format!("{pool}[errors]\ndetail = \"{detail}\"\n"));
        let secrets = [upstream.to_owned(), upstream.replace("https://", ""), PATH.to_owned()];
        let ask = async |accept: &str| {
            let answer = ask(&proxy, &get(accept), b"").await;
            assert!(answer.field("proxy-status").is_some_and(|field| field.contains(more)), "{more}: {answer:?}");
            answer
        };
        checked(&wanted, full, &secrets, ask).await;
    }
    let config = causeway::config::Config::from_toml(&pool).unwrap();
    let address = &config.pools[0].upstreams[0].address;
    let endpoint = Endpoint::literal(address).unwrap().with_tls(config.pools[0].tls.clone());
    let check = HttpCheck {
        path: PATH.to_owned(),
        method: Method::GET,
        host_header: None,
        headers: HeaderMap::new(),
        expect_status: vec![(200, 399)],
        expect_body: String::new(),
    };
    for check in [Check::Tcp, Check::Http(check)] {
        let mut health = quick(check);
        if cause.row().timeout {
            health.timeout = std::time::Duration::from_millis(100);
        }
        let failed = probe::once(&Arc::new(endpoint.clone()), &health).await.expect_err("the check must fail");
        assert_eq!((failed.failure.cause, failed.failure.phase), (cause, cause.row().phase), "{failed}");
    }
}

#[tokio::test]
async fn a_certificate_that_is_not_believed() {
    let (authority, other) = (Authority::new(), Authority::new());
    let trusting = format!("tls.ca = {:?}\n", authority.file());
    for (pair, cause) in [
        (authority.issue(&["127.0.0.1"], 2021), Cause::TlsCertExpired),
        (authority.issue(&["app.test"], 2090), Cause::TlsCertName),
        (other.issue(&["127.0.0.1"], 2090), Cause::TlsCertUntrusted),
    ] {
        let origin = TlsOrigin::start(pair).await;
        meets(cause, &format!("https://{}", origin.address), &trusting, "error=tls_certificate_error").await;
    }
}

#[tokio::test]
async fn who_does_not_speak_tls() {
    let http = b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec();
    let no_such_name = b"\x15\x03\x03\x00\x02\x02\x70".to_vec();
    for (behaviour, cause, more) in [
        (Behaviour::Greets(http), Cause::SpeaksPlaintext, "error=tls_protocol_error"),
        (Behaviour::Greets(no_such_name), Cause::TlsAlert, "alert-id=112; alert-message=\"unrecognized_name\""),
        (Behaviour::Silent, Cause::TlsTimeout, "error=connection_timeout"),
    ] {
        let origin = Origin::start(behaviour).await;
        let upstream = format!("https://{}", origin.address());
        meets(cause, &upstream, "timeouts.tls = \"100ms\"\n", more).await;
    }
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let upstream = format!("https://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { while listener.accept().await.is_ok() {} });
    meets(Cause::TlsFailure, &upstream, "", "error=tls_protocol_error").await;
}

/// Whatever the method: nobody has read a request that was sent into a session which an alert ended.
#[tokio::test]
async fn a_post_that_met_an_alert_goes_to_the_next() {
    let authority = Authority::new();
    let picky =
        TlsOrigin::with(authority.issue(&["127.0.0.1"], 2090), Some(&authority), &[&rustls::version::TLS13]).await;
    let other = TlsOrigin::start(authority.issue(&["127.0.0.1"], 2090)).await;
    let proxy = Proxy::start(&format!(
        "[pool.app]\nupstreams = [\"https://{}\", \"https://{}\"]\nhealth.type = \"off\"\nbalance = \"round_robin\"\ntls.ca = {:?}\n",
        picky.address,
        other.address,
        authority.file()
    ));
    for _ in 0..4 {
        let answer = ask(&proxy, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n", b"hi").await;
        assert_eq!(answer.status, 200, "{answer:?}");
    }
}

/// An alert that refuses no certificate may come in the midst of the work: what was sent stays sent. Here the request
/// is damaged on its way, and the upstream says so (bad_record_mac).
#[tokio::test]
async fn a_post_that_met_another_alert_is_not_sent_again() {
    let authority = Authority::new();
    let app = TlsOrigin::start(authority.issue(&["127.0.0.1"], 2090)).await;
    let (listener, behind) = (TcpListener::bind("127.0.0.1:0").await.unwrap(), app.address);
    let bad = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            tokio::spawn(async move {
                let upstream = tokio::net::TcpStream::connect(behind).await.unwrap();
                let ((mut from, mut back), (mut answers, mut to)) = (client.into_split(), upstream.into_split());
                tokio::spawn(async move { tokio::io::copy(&mut answers, &mut back).await });
                let mut sealed = 0;
                loop {
                    let mut head = [0; 5];
                    if from.read_exact(&mut head).await.is_err() {
                        return;
                    }
                    let mut record = vec![0; usize::from(u16::from_be_bytes([head[3], head[4]]))];
                    from.read_exact(&mut record).await.unwrap();
                    sealed += usize::from(head[0] == 23);
                    // The first is the client's Finished.
                    if sealed == 2 {
                        record[0] ^= 1;
                    }
                    to.write_all(&[&head[..], &record].concat()).await.unwrap();
                }
            });
        }
    });
    let proxy = Proxy::start(&format!(
        "[pool.app]\nupstreams = [\"https://{bad}\", \"https://{behind}\"]\nhealth.type = \"off\"\nbalance = \"round_robin\"\n\
         tls.ca = {:?}\n",
        authority.file()
    ));
    let mut seen = Vec::new();
    for _ in 0..2 {
        let answer = ask(&proxy, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n", b"hi").await;
        seen.push((answer.status, answer.field("proxy-status").map(|field| field.contains("alert-id=20"))));
    }
    seen.sort_unstable_by_key(|(status, _)| *status);
    assert_eq!((seen[0].0, seen[1]), (200, (502, Some(true))), "{seen:?}");
}

#[tokio::test]
async fn a_socket_that_is_not_there() {
    let folder = tempfile::tempdir().unwrap();
    let upstream = format!("unix:{}/app.sock", folder.path().display());
    meets(Cause::SocketMissing, &upstream, "", "error=connection_refused").await;
}

/// An upstream of which nobody knows anything is tried only when `health.timeout` (2 s) is over: this one is known
/// before.
#[tokio::test]
async fn a_socket_is_checked() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("app.sock");
    let listener = UnixListener::bind(&path).unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.read(&mut [0; 1024]).await;
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok").await;
        }
    });
    let begun = std::time::Instant::now();
    let proxy = Proxy::start(&format!("[pool.app]\nupstreams = [\"unix:{}\"]\n", path.display()));
    assert_eq!(ask(&proxy, &get("*/*"), b"").await.status, 200);
    assert!(begun.elapsed() < std::time::Duration::from_millis(1500), "{:?}", begun.elapsed());
}

/// Root may open every socket, unless it has given up that right.
#[tokio::test]
#[ignore = "needs setpriv (Debian: util-linux) where root runs it"]
async fn a_socket_that_may_not_be_opened() {
    const INSIDE: &str = "TEST_WITHOUT_CAPABILITIES";
    if std::env::var_os(INSIDE).is_none() {
        let name = "causes::secure::a_socket_that_may_not_be_opened";
        let mut command = Command::new("setpriv");
        command.args(["--inh-caps=-all", "--bounding-set=-all"]).arg(std::env::current_exe().unwrap());
        let ended = command.args(["--exact", name, "--include-ignored"]).env(INSIDE, "1").output().unwrap();
        let said = String::from_utf8_lossy(&ended.stdout);
        assert!(ended.status.success() && said.contains("1 passed"), "{said}");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("app.sock");
    let _listener = UnixListener::bind(&path).unwrap();
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o000)).unwrap();
    meets(Cause::SocketDenied, &format!("unix:{}", path.display()), "", "error=proxy_configuration_error").await;
}
