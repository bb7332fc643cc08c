//! Sockets of this machine, and the PROXY header in front of everything.

use causeway::client::introduction;
use causeway::config::{Address, Endpoint};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UnixListener};

use super::*;

impl Bench {
    fn socket(path: &str) -> Self {
        let endpoint = Endpoint::literal(&Address::parse(&format!("unix:{path}")).unwrap()).unwrap();
        Self { endpoint: Arc::new(endpoint), ..Self::to(Dial::Unresolved(None)) }
    }
}

#[tokio::test]
async fn a_socket_is_served_like_a_port() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("app.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let path = path.to_str().unwrap().to_owned();
    let served = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        for _ in 0..2 {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(stream.read_u8().await.unwrap());
            }
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await.unwrap();
        }
        listener
    });
    let mut bench = Bench::socket(&path);
    assert_eq!(bench.text().await, "ok");
    bench.replayable = false;
    assert_eq!(bench.text().await, "ok");
    assert!(bench.progress.reused());

    // Nobody listens any more, and then there is no socket.
    drop(served.await.unwrap());
    bench.fresh = true;
    let refused = bench.failure(get()).await;
    assert_eq!((refused.cause, refused.phase), (Cause::ConnectionRefused, Phase::Connect), "{refused}");
    std::fs::remove_file(&path).unwrap();
    let missing = bench.failure(get()).await;
    assert_eq!((missing.cause, missing.phase), (Cause::SocketMissing, Phase::Connect), "{missing}");
    assert!(missing.hint(&format!("unix:{path}")).contains(&format!("no socket unix:{path}. Is the app running")));
}

#[tokio::test]
async fn a_socket_without_a_file_is_found() {
    let name = format!("causeway-test-{}", std::process::id());
    let listener = UnixListener::bind(format!("\0{name}")).unwrap();
    let served = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let _ = stream.read_u8().await;
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await.unwrap();
    });
    assert_eq!(Bench::socket(&format!("@{name}")).text().await, "ok");
    served.await.unwrap();
}

/// Each connection begins with who the client is, and none is kept.
#[tokio::test]
async fn an_introduction_stands_in_front() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (tell, mut told) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut all = Vec::new();
            while !all.ends_with(b"\r\n\r\n") || !all.contains(&b'/') {
                all.push(stream.read_u8().await.unwrap());
            }
            let _ = tell.send(all);
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await.unwrap();
        }
    });
    let mut bench = Bench::at(address);
    let plain = Endpoint::new("origin:80".into(), Dial::Addresses(vec![address]));
    bench.endpoint = Arc::new(Endpoint { proxy_protocol: true, ..plain });
    let client = introduction::Client { from: "192.0.2.7:50000".parse().unwrap(), to: "10.0.0.1:443".parse().unwrap() };
    for introduced in [Some(client), None] {
        bench.introduced = introduced;
        assert_eq!(bench.text().await, "ok");
        let said = told.recv().await.unwrap();
        let header = introduction::header(introduced.as_ref());
        assert!(said.starts_with(&header) && said[header.len()..].starts_with(b"GET /path"), "{}", said.escape_ascii());
        assert!(!bench.progress.reused());
    }
}
