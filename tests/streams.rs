//! Server-sent events and the streams of language models: nothing is held, silence is allowed, and an end is seen as
//! what it is.

use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::version::TLS13;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::support::certificates::Authority;
use crate::support::proxy::Proxy;

mod ends;
mod events;

const LONG: Duration = Duration::from_secs(20);
const SSE: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-cache\r\n";
const CHUNKED: &str = "Transfer-Encoding: chunked\r\n";

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// An app in the hand of its test: one listening socket, whose connections it takes and answers itself.
struct App(TcpListener);

impl App {
    async fn start() -> Self {
        Self(TcpListener::bind("127.0.0.1:0").await.unwrap())
    }

    /// A proxy in front of it; `top` for the top of the file, `more` for its pool.
    fn proxy(&self, top: &str, more: &str) -> Proxy {
        Proxy::with(top, &[self.0.local_addr().unwrap()], more)
    }

    /// The next request, and its connection.
    async fn asked(&self) -> (TcpStream, String) {
        let (mut stream, _) = timeout(LONG, self.0.accept()).await.unwrap().unwrap();
        stream.set_nodelay(true).unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(timeout(LONG, stream.read_u8()).await.unwrap().unwrap());
        }
        (stream, String::from_utf8(head).unwrap())
    }
}

async fn say(stream: &mut TcpStream, text: &str) {
    stream.write_all(text.as_bytes()).await.unwrap();
}

fn chunk(text: &str) -> String {
    format!("{:x}\r\n{text}\r\n", text.len())
}

/// What has come by the time that it ends like this. Only what was sent already can come: nobody sends more meanwhile.
async fn until(stream: &mut impl Stream, end: &str) -> String {
    let mut all = Vec::new();
    while !all.ends_with(end.as_bytes()) {
        let read = timeout(LONG, stream.read_buf(&mut all)).await;
        let read = read.unwrap_or_else(|_| panic!("held: {:?} of {end:?}", String::from_utf8_lossy(&all)));
        assert_ne!(read.unwrap(), 0, "ended: {:?} of {end:?}", String::from_utf8_lossy(&all));
    }
    String::from_utf8(all).unwrap()
}

async fn plain(proxy: &Proxy) -> TcpStream {
    let stream = TcpStream::connect(proxy.address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

/// A certificate for a listener, and a client that believes it.
struct Secure {
    authority: Authority,
    folder: tempfile::TempDir,
}

impl Secure {
    fn new() -> Self {
        let (authority, folder) = (Authority::new(), tempfile::tempdir().unwrap());
        authority.issue(&["a.test"], 2030).write(folder.path(), "a");
        Self { authority, folder }
    }

    fn listener(&self) -> String {
        let file = |name: &str| self.folder.path().join(name).display().to_string();
        let pair = format!("{{ cert = \"{}\", key = \"{}\" }}", file("a.pem"), file("a.key"));
        format!("[listener.main.tls]\ncertificates = [{pair}]\n")
    }

    async fn connect(&self, proxy: &Proxy, alpn: &[&str]) -> tokio_rustls::client::TlsStream<TcpStream> {
        let connector = TlsConnector::from(Arc::clone(&self.authority.client(&[&TLS13], alpn, None)));
        connector.connect(ServerName::try_from("a.test").unwrap(), plain(proxy).await).await.unwrap()
    }
}
