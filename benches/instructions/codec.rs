//! The codec, over a connection whose upstream answers at once: nothing of the kernel is in the count.

use std::hint::black_box;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::{Context, Poll};

use bytes::Bytes;
use causeway::client::h1::{Connection, Home, Sending};
use causeway::client::{Head, Order, Outgoing};
use causeway::config::Endpoint;
use futures_util::FutureExt;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use http_body_util::{BodyExt, Empty};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tower::Service;

use super::cases::{Case, config};

/// What a browser's request has by the time it goes out.
const FIELDS: [(&str, &str); 8] = [
    ("host", "shop.example"),
    ("user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101"),
    ("accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"),
    ("accept-language", "en-GB,en;q=0.5"),
    ("x-forwarded-for", "192.0.2.7"),
    ("x-forwarded-proto", "http"),
    ("x-request-id", "4f6c2a91b07de358c1a4e9d2637f8b05"),
    ("via", "1.1 causeway-3f9a1c"),
];

pub(super) fn head() -> Case {
    let (target, fields) = (PathAndQuery::from_static("/orders?page=3"), fields());
    Box::new(move || {
        black_box(written(black_box(&target), black_box(&fields)));
    })
}

/// A request without a body on a kept connection, and its answer to the last byte.
pub(super) fn exchange(answer: Vec<u8>) -> Case {
    let (target, fields) = (PathAndQuery::from_static("/orders?page=3"), fields());
    let config = config("[pool.app]\nupstreams = [\"127.0.0.1:3000\"]\n");
    let pool = Arc::clone(&config.pools[0]);
    let endpoint = Arc::new(Endpoint::literal(&pool.upstreams[0].address).expect("a literal address"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    let clocks = Box::leak(Box::new(runtime)).enter();
    let idle_age = Arc::default();
    let meter = Arc::default();
    let shelf = Arc::new(Shelf(Mutex::new(None)));
    let home: Arc<dyn Home<_, _>> = shelf.clone();
    let home = Arc::downgrade(&home);
    Box::new(move || {
        let _clocks = &clocks;
        let order = Order {
            endpoint: &endpoint,
            timeouts: &pool.timeouts,
            buffers: &pool.buffers,
            connections: &pool.connections,
            idle_age: &idle_age,
            meter: &meter,
            client: None,
            now: tokio::time::Instant::now(),
            replayable: true,
            fresh: false,
            expects_continue: false,
            elsewhere: false,
        };
        let io = || Upstream { answer: answer.clone(), given: answer.len() };
        let mut connection = shelf.take().unwrap_or_else(|| Connection::new(io(), order, Weak::clone(&home)));
        let request = Outgoing::new(written(&target, &fields), Empty::new());
        let sending = Sending { order, request, progress: &Arc::default() };
        let response = connection.call(sending).now_or_never().expect("an answer at once").expect("an answer");
        let mut body = black_box(response).into_body();
        while let Some(frame) = body.frame().now_or_never().expect("the rest at once") {
            black_box(frame.expect("a frame"));
        }
    })
}

pub(super) fn with_length(size: usize) -> Vec<u8> {
    let mut answer = answer_head(&format!("Content-Length: {size}"));
    answer.resize(answer.len() + size, b'x');
    answer
}

pub(super) fn chunked(size: usize, chunk: usize) -> Vec<u8> {
    let mut answer = answer_head("Transfer-Encoding: chunked");
    for _ in 0..size / chunk {
        answer.extend_from_slice(format!("{chunk:x}\r\n").as_bytes());
        answer.resize(answer.len() + chunk, b'x');
        answer.extend_from_slice(b"\r\n");
    }
    answer.extend_from_slice(b"0\r\n\r\n");
    answer
}

fn answer_head(framing: &str) -> Vec<u8> {
    let fields = "Server: nginx\r\nDate: Fri, 20 Nov 2026 14:02:51 GMT\r\nContent-Type: text/html\r\n\
        Cache-Control: max-age=600\r\nETag: \"5f3b-61c\"\r\nVary: Accept-Encoding\r\n";
    format!("HTTP/1.1 200 OK\r\n{fields}{framing}\r\n\r\n").into_bytes()
}

fn fields() -> HeaderMap {
    FIELDS.iter().map(|(n, v)| (HeaderName::from_static(n), HeaderValue::from_static(v))).collect()
}

fn written(target: &PathAndQuery, fields: &HeaderMap) -> Head {
    let mut head = Head::new(&Method::GET, Some(target));
    for (name, value) in fields {
        head.field(name, value);
    }
    head
}

/// Where the connection rests between two calls.
struct Shelf(Mutex<Option<Connection<Upstream, Empty<Bytes>>>>);

impl Shelf {
    fn take(&self) -> Option<Connection<Upstream, Empty<Bytes>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Home<Upstream, Empty<Bytes>> for Shelf {
    fn keep(self: Arc<Self>, connection: Connection<Upstream, Empty<Bytes>>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(connection);
    }
}

/// Takes any write for a whole request, and gives its answer to whoever reads then.
struct Upstream {
    answer: Vec<u8>,
    given: usize,
}

impl AsyncRead for Upstream {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let left = &self.answer[self.given..];
        if left.is_empty() {
            return Poll::Pending;
        }
        let part = left.len().min(buffer.remaining());
        buffer.put_slice(&left[..part]);
        self.given += part;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Upstream {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.given = 0;
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
