//! A raw HTTP/1.1 client for tests: bytes out, one response in, and an exact word on how it ended.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// No test waits for longer than this for a byte.
const PATIENCE: Duration = Duration::from_secs(20);

/// One connection.
pub struct Raw {
    pub stream: TcpStream,
    /// Read, but not yet part of a response.
    pub buffer: Vec<u8>,
    method_was_head: bool,
}

/// How the stream stood when reading stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Open, and the response complete.
    Open,
    /// FIN.
    Eof,
    /// RST, or another error.
    Reset,
}

/// A response, as far as it came.
#[derive(Clone, Debug)]
pub struct Response {
    pub status: u16,
    /// Status line and fields, without the empty line.
    pub head: String,
    /// Dechunked.
    pub body: Vec<u8>,
    /// Of a chunked body.
    pub trailers: String,
    /// The body came to the end that its head promised.
    pub complete: bool,
    pub end: End,
}

impl Response {
    /// The first field of this name.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields(name).into_iter().next()
    }

    pub fn fields(&self, name: &str) -> Vec<&str> {
        let fields = self.head.lines().skip(1).filter_map(|line| line.split_once(':'));
        fields.filter(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim()).collect()
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

impl Raw {
    pub async fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream, buffer: Vec::new(), method_was_head: false }
    }

    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.try_send(bytes).await.unwrap();
    }

    pub async fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        let bytes = bytes.as_ref();
        self.method_was_head = bytes.starts_with(b"HEAD ");
        self.stream.write_all(bytes).await
    }

    /// A GET with Host, and its response.
    pub async fn get(&mut self, target: &str) -> Response {
        self.send(format!("GET {target} HTTP/1.1\r\nHost: test\r\n\r\n")).await;
        self.response().await
    }

    /// FIN from our side.
    pub async fn finish(&mut self) {
        self.stream.shutdown().await.unwrap();
    }

    /// RST from our side.
    pub fn abort(self) {
        socket2::SockRef::from(&self.stream).set_linger(Some(Duration::ZERO)).unwrap();
    }

    /// The next response; one of status 1xx other than 101 counts as one. Fails the test without a whole head.
    pub async fn response(&mut self) -> Response {
        self.try_response().await.unwrap_or_else(|end| {
            panic!("no response head ({end:?}) after {:?}", String::from_utf8_lossy(&self.buffer))
        })
    }

    /// The next response, or how the connection ended before its head was whole.
    pub async fn try_response(&mut self) -> Result<Response, End> {
        let end = self.until(b"\r\n\r\n").await?;
        let head = String::from_utf8_lossy(&self.buffer[..end]).into_owned();
        self.buffer.drain(..end + 4);
        let status = head.get(9..12).and_then(|code| code.parse().ok()).expect("a status line");
        let mut response =
            Response { status, head, body: vec![], trailers: String::new(), complete: true, end: End::Open };
        if status < 200 || status == 204 || status == 304 || self.method_was_head {
            return Ok(response);
        }
        if let Err(end) = self.body(&mut response).await {
            response.complete = false;
            response.end = end;
        }
        Ok(response)
    }

    /// Reads to the end of the stream: what came, and how it ended.
    pub async fn rest(&mut self) -> (Vec<u8>, End) {
        let end = loop {
            if let Err(end) = self.more().await {
                break end;
            }
        };
        (std::mem::take(&mut self.buffer), end)
    }

    async fn body(&mut self, response: &mut Response) -> Result<(), End> {
        if response.field("transfer-encoding").is_some() {
            loop {
                let line = self.line().await?;
                let size =
                    usize::from_str_radix(line.split(';').next().unwrap_or("").trim(), 16).expect("a chunk size");
                if size == 0 {
                    break;
                }
                self.exactly(size, &mut response.body).await?;
                self.line().await?;
            }
            loop {
                match self.line().await? {
                    line if line.is_empty() => return Ok(()),
                    line => response.trailers += &(line + "\n"),
                }
            }
        }
        if let Some(length) = response.field("content-length") {
            let length = length.parse().expect("a length");
            return self.exactly(length, &mut response.body).await;
        }
        let (body, end) = self.rest().await;
        response.body = body;
        response.end = end;
        if end == End::Reset { Err(end) } else { Ok(()) }
    }

    /// So many bytes; what there is of them, if not.
    async fn exactly(&mut self, count: usize, into: &mut Vec<u8>) -> Result<(), End> {
        let mut result = Ok(());
        while self.buffer.len() < count && result.is_ok() {
            result = self.more().await;
        }
        into.extend(self.buffer.drain(..count.min(self.buffer.len())));
        result
    }

    async fn line(&mut self) -> Result<String, End> {
        let end = self.until(b"\r\n").await?;
        let line = String::from_utf8_lossy(&self.buffer[..end]).into_owned();
        self.buffer.drain(..end + 2);
        Ok(line)
    }

    async fn until(&mut self, what: &[u8]) -> Result<usize, End> {
        loop {
            if let Some(found) = self.buffer.windows(what.len()).position(|window| window == what) {
                return Ok(found);
            }
            self.more().await?;
        }
    }

    async fn more(&mut self) -> Result<(), End> {
        let mut chunk = [0; 16 << 10];
        match timeout(PATIENCE, self.stream.read(&mut chunk)).await.expect("a byte or an end in time") {
            Ok(0) => Err(End::Eof),
            Ok(n) => {
                self.buffer.extend_from_slice(&chunk[..n]);
                Ok(())
            }
            Err(_) => Err(End::Reset),
        }
    }
}
