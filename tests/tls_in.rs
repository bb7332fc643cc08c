//! TLS to clients, through the whole proxy: what upstreams are told, whose certificates are taken, files that change.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use rustls::version::{TLS12, TLS13};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::metrics::{observed, page};
use crate::support::certificates::{Authority, Issued};
use crate::support::origin::{Behaviour, Origin};
use crate::support::process::Causeway;
use crate::support::proxy::Proxy;

/// Long enough that only a fault reaches it.
const LONG: Duration = Duration::from_secs(20);

/// A folder with `a.pem` for `a.test` and `b.pem` for `b.test`, both of one authority.
struct Files {
    authority: Authority,
    folder: TempDir,
}

impl Files {
    fn new() -> Self {
        let files = Self { authority: Authority::new(), folder: TempDir::new().unwrap() };
        files.authority.issue(&["a.test"], 2030).write(files.path(), "a");
        files.authority.issue(&["b.test"], 2031).write(files.path(), "b");
        files
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    /// `[listener.main.tls]` with both, and more of its keys.
    fn table(&self, more: &str) -> String {
        let pair = |name: &str| {
            let file = |ending| self.path().join(format!("{name}.{ending}")).display().to_string();
            format!("{{ cert = \"{}\", key = \"{}\" }}", file("pem"), file("key"))
        };
        format!("[listener.main.tls]\ncertificates = [{}, {}]\n{more}", pair("a"), pair("b"))
    }

    fn client(&self) -> Arc<ClientConfig> {
        self.authority.client(&[&TLS13, &TLS12], &[], None)
    }
}

/// With this one upstream, without checks.
fn config(upstream: &Origin, tls: &str) -> String {
    format!("{tls}\n[pool.app]\nupstreams = [\"{}\"]\nhealth.type = \"off\"\n", upstream.address())
}

type Stream = TlsStream<TcpStream>;

async fn connect(proxy: &Proxy, config: &Arc<ClientConfig>, host: &'static str) -> std::io::Result<Stream> {
    let stream = TcpStream::connect(proxy.address).await.unwrap();
    let shaken = TlsConnector::from(Arc::clone(config)).connect(ServerName::try_from(host).unwrap(), stream);
    timeout(LONG, shaken).await.unwrap()
}

/// Sends a request and reads its answer, which has a length.
async fn ask(stream: &mut Stream, head: &str) -> std::io::Result<String> {
    stream.write_all(head.as_bytes()).await?;
    let (mut all, mut length) = (Vec::new(), None);
    while length.is_none_or(|length| all.len() < length) {
        if timeout(LONG, stream.read_buf(&mut all)).await.unwrap()? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        let text = String::from_utf8_lossy(&all).to_ascii_lowercase();
        if let Some((head, _)) = text.split_once("\r\n\r\n") {
            let field = head.split("content-length: ").nth(1).unwrap_or_else(|| panic!("{head}"));
            length = Some(head.len() + 4 + field.lines().next().unwrap().parse::<usize>().unwrap());
        }
    }
    Ok(String::from_utf8(all).unwrap())
}

fn get(host: &str) -> String {
    format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n")
}

#[tokio::test]
async fn upstreams_are_told_that_it_was_tls() {
    let (files, upstream) = (Files::new(), Origin::start(Behaviour::Ok("fine".into())).await);
    let proxy = Proxy::start(&config(&upstream, &files.table("")));
    let mut client = connect(&proxy, &files.client(), "a.test").await.unwrap();
    for host in ["a.test", "a.test:8443"] {
        assert!(ask(&mut client, &get(host)).await.unwrap().ends_with("fine"));
    }
    let seen = upstream.requests(2).await;
    for (request, port) in seen.iter().zip(["443", "8443"]) {
        let head = request.head.to_ascii_lowercase();
        assert!(head.contains("x-forwarded-proto: https\r\n"), "{head}");
        assert!(head.contains(&format!("x-forwarded-port: {port}\r\n")), "{head}");
    }
    // Plain HTTP gets a full answer, of the usual kind.
    let mut plain = TcpStream::connect(proxy.address).await.unwrap();
    plain.write_all(b"GET / HTTP/1.1\r\nHost: a.test\r\nAccept: text/plain\r\n\r\n").await.unwrap();
    let mut text = String::new();
    timeout(LONG, plain.read_to_string(&mut text)).await.unwrap().unwrap();
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(
        words.starts_with("HTTP/1.1 400 ") && words.contains("a TLS port, where addresses begin with https://"),
        "{text}"
    );
    assert_eq!(proxy.exchange(2).await.cause, Some("client_invalid"));
}

#[tokio::test]
async fn clients_show_certificates_and_stay_with_their_host() {
    let (files, upstream) = (Files::new(), Origin::start(Behaviour::Ok("fine".into())).await);
    let (others, clients) = (Authority::new(), Authority::new());
    std::fs::write(files.path().join("clients.pem"), clients.pem()).unwrap();
    let table = files.table(&format!("client_ca = \"{}\"\n", files.path().join("clients.pem").display()));
    let proxy = Proxy::start(&config(&upstream, &table));
    let shows = |own: Option<&Issued>, version| files.authority.client(&[version], &[], own);
    for version in [&TLS12, &TLS13] {
        let known = shows(Some(&clients.issue(&["joe"], 2030)), version);
        // The second time the session is resumed, and what holds for the first holds for it.
        for _ in 0..2 {
            let mut client = connect(&proxy, &known, "b.test").await.unwrap();
            assert!(ask(&mut client, &get("b.test")).await.unwrap().ends_with("fine"));
            let text = ask(&mut client, &get("a.test")).await.unwrap();
            assert!(text.starts_with("HTTP/1.1 421 ") && text.contains("b.test"), "{text}");
            let text = ask(&mut client, &get("B.test:443")).await.unwrap();
            assert!(text.ends_with("fine"), "{text}");
        }
        // Without SNI the first certificate is shown, and its hosts may be asked for, as those of none.
        let mut nameless = connect(&proxy, &known, "127.0.0.1").await;
        assert!(nameless.is_err(), "no certificate has this address");
        nameless = connect(&proxy, &known, "a.test").await;
        let mut client = nameless.unwrap();
        for (host, status) in [("a.test", 200), ("other.test", 200), ("b.test", 421)] {
            let text = ask(&mut client, &get(host)).await.unwrap();
            assert!(text.starts_with(&format!("HTTP/1.1 {status} ")), "{host}: {text}");
        }
        for own in [None, Some(&others.issue(&["joe"], 2030)), Some(&clients.issue(&["joe"], 2021))] {
            // In TLS 1.3 the client learns of it with its first read.
            let refused = match connect(&proxy, &shows(own, version), "a.test").await {
                Err(error) => error,
                Ok(mut client) => ask(&mut client, &get("a.test")).await.unwrap_err(),
            };
            assert!(refused.to_string().contains("fatal alert"), "{refused}");
        }
    }
}

/// Which certificate the host gets now: its last year.
async fn last_year(proxy: &Proxy, files: &Files, host: &'static str) -> i32 {
    let client = connect(proxy, &files.client(), host).await.unwrap();
    let leaf = client.get_ref().1.peer_certificates().unwrap()[0].clone();
    let (_, leaf) = x509_parser::parse_x509_certificate(&leaf).unwrap();
    leaf.validity().not_after.to_datetime().year()
}

async fn until_last_year(proxy: &Proxy, files: &Files, host: &'static str, wanted: i32) {
    let since = Instant::now();
    while last_year(proxy, files, host).await != wanted {
        assert!(since.elapsed() < LONG, "never {wanted}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test]
async fn new_files_are_taken_up_with_no_connection_lost() {
    let (files, upstream) = (Files::new(), Origin::start(Behaviour::Ok("fine".into())).await);
    // As Kubernetes mounts a secret: links to a folder behind a link, which is turned.
    let (mount, old, new) = (files.path().join("mount"), files.path().join("old"), files.path().join("new"));
    for folder in [&mount, &old, &new] {
        std::fs::create_dir(folder).unwrap();
    }
    files.authority.issue(&["c.test"], 2040).write(&old, "c");
    files.authority.issue(&["c.test"], 2041).write(&new, "c");
    std::os::unix::fs::symlink("../old", mount.join("data")).unwrap();
    for file in ["c.pem", "c.key"] {
        std::os::unix::fs::symlink(Path::new("data").join(file), mount.join(file)).unwrap();
    }
    let shown = mount.display();
    let table = files.table("").replace("}]", &format!("}}, {{ cert = \"{shown}/c.pem\", key = \"{shown}/c.key\" }}]"));
    let proxy = observed(&config(&upstream, &table));
    let mut kept = connect(&proxy, &files.client(), "a.test").await.unwrap();
    assert!(ask(&mut kept, &get("a.test")).await.unwrap().ends_with("fine"));
    for (host, wanted) in [("a.test", 2030), ("b.test", 2031), ("c.test", 2040)] {
        assert_eq!(last_year(&proxy, &files, host).await, wanted, "{host}");
    }

    files.authority.issue(&["a.test"], 2032).write(files.path(), "a");
    until_last_year(&proxy, &files, "a.test", 2032).await;
    std::os::unix::fs::symlink("../new", mount.join("next")).unwrap();
    std::fs::rename(mount.join("next"), mount.join("data")).unwrap();
    until_last_year(&proxy, &files, "c.test", 2041).await;
    assert_eq!(last_year(&proxy, &files, "b.test").await, 2031);

    assert!(ask(&mut kept, &get("a.test")).await.unwrap().ends_with("fine"), "begun before, served after");
    let text = page(&proxy, "*/*").await;
    let of = |file: &Path| {
        let name = file.file_name().unwrap().display();
        format!("causeway_tls_certificate_not_after_seconds{{listener=\"main\",certificate=\"{name}\"}} ")
    };
    let seconds = |file: &Path| {
        let line = text.lines().find_map(|line| line.strip_prefix(&of(file)));
        line.unwrap_or_else(|| panic!("{text}")).parse::<i64>().unwrap()
    };
    // The last day of 2032, of 2031, of 2041.
    assert_eq!(seconds(&files.path().join("a.pem")) / 86_400, 23_010);
    assert_eq!(seconds(&files.path().join("b.pem")) / 86_400, 22_644);
    assert_eq!(seconds(&mount.join("c.pem")) / 86_400, 26_297);
}

#[tokio::test]
async fn what_does_not_fit_keeps_the_old_and_is_told_once() {
    let (files, upstream) = (Files::new(), Origin::start(Behaviour::Ok("fine".into())).await);
    let config = format!("listen = \"127.0.0.1:0\"\nadmin.address = \"off\"\n{}", config(&upstream, &files.table("")));
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("causeway.toml");
    std::fs::write(&file, config).unwrap();
    let mut causeway = Causeway::words(&["run", "--config", file.to_str().unwrap()]);
    let address = causeway.address("listening on https://");
    causeway.event("serving");
    let shaken = |host: &'static str| {
        let config = files.client();
        async move {
            let stream = TcpStream::connect(address).await.unwrap();
            let name = ServerName::try_from(host).unwrap();
            timeout(LONG, TlsConnector::from(config).connect(name, stream)).await.unwrap().map(drop)
        }
    };
    // A certificate without its key: somebody has made a mistake, or is not ready yet.
    let next = files.authority.issue(&["a.test", "new.test"], 2033);
    std::fs::write(files.path().join("a.pem"), &next.cert).unwrap();
    let line = causeway.event("certificate_refused");
    assert!(line.contains("a.pem") && line.contains("is not the key of"), "{line}");
    assert!(line.contains("the old one stays in use"), "{line}");
    shaken("a.test").await.unwrap();
    assert!(shaken("new.test").await.is_err());
    let line = causeway.event("handshake_failed");
    assert!(line.contains("does not trust the certificate (its alert: BadCertificate)"), "{line}");
    // Its key comes too.
    std::fs::write(files.path().join("a.key"), &next.key).unwrap();
    let line = causeway.event("certificate_taken");
    assert!(line.contains("a.pem") && line.contains("days more"), "{line}");
    shaken("new.test").await.unwrap();
    // Of more of that kind nothing is said for a while.
    let stranger = Authority::new().client(&[&TLS13], &[], None);
    for _ in 0..3 {
        let stream = TcpStream::connect(address).await.unwrap();
        let name = ServerName::try_from("a.test").unwrap();
        assert!(TlsConnector::from(Arc::clone(&stranger)).connect(name, stream).await.is_err());
    }
    causeway.signal(rustix::process::Signal::TERM);
    let (status, all) = causeway.end();
    assert!(status.success(), "{all}");
    for event in ["certificate_refused", "certificate_taken", "handshake_failed"] {
        assert_eq!(all.matches(event).count(), 1, "{event}: {all}");
    }
}

#[tokio::test]
async fn a_cut_answer_is_seen_as_cut() {
    let files = Files::new();
    let cut = b"HTTP/1.1 200 OK\r\n\r\nhalf of what was";
    let upstream =
        Origin::start(Behaviour::RawThenClose(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf".to_vec())).await;
    let proxy = Proxy::start(&config(&upstream, &files.table("")));
    let mut client = connect(&proxy, &files.client(), "a.test").await.unwrap();
    let text = ask(&mut client, &get("a.test")).await.unwrap();
    assert!(text.starts_with("HTTP/1.1 502 "), "short of its length before a byte is out: {text}");

    upstream.set(Behaviour::RawThenClose(
        [&b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n"[..], &[b'x'; 500_000]].concat(),
    ));
    let mut all = Vec::new();
    client.write_all(get("a.test").as_bytes()).await.unwrap();
    let end = timeout(LONG, client.read_to_end(&mut all)).await.unwrap();
    assert!(end.is_err() && all.starts_with(&cut[..15]), "{} bytes, {end:?}", all.len());
}
